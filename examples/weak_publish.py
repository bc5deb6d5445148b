"""A pointer is published before what it points to is initialised: only weak memory shows it.

python examples/weak_publish.py
"""

from sugarbush import Once, RcuPtr, Settings, Shared, check, explore, join, spawn
from sugarbush.concurrency import WRITE_ONCE, rcu_reader

WEAK = Settings(memory="weak")


class Config(Shared):
    limit: Once[int] = 0


class Server(Shared):
    config: RcuPtr[Config | None] = None


def reload_config(careful: bool) -> None:
    server = Server(config=Config(limit=1))

    def writer() -> None:
        new = Config(limit=2)
        if careful:
            server.config = new  # rcu_assign_pointer(): a release
        else:
            WRITE_ONCE(server, "config", new)

    def reader() -> None:
        with rcu_reader():
            config = server.config  # rcu_dereference(): what it leads to comes after it
            assert config is not None
            check(config.limit in (1, 2), "the limit is one that somebody set")

    join(spawn(writer), spawn(reader))


for name, settings in (("sc", Settings()), ("weak", WEAK)):
    for careful in (True, False):
        result = explore(lambda careful=careful: reload_config(careful), strategy="dpor", settings=settings)
        how = "rcu_assign_pointer" if careful else "WRITE_ONCE"
        said = (
            result.failures[0].failure.headline if result.failures else f"in {result.executions} executions"
        )
        print(f"{name:5} {how:20} {result.verdict.value}: {said}")

witness = explore(lambda: reload_config(False), strategy="dpor", settings=WEAK).failures[0]
print(f"\nschedule: {witness.schedule}\n{witness.failure.detail}")
assert witness.failure.kind == "uninit"
