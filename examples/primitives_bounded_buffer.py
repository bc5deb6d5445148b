"""Cargill's bounded buffer: with `notify` producers and consumers can all wait for ever, with `notify_all` not."""

from __future__ import annotations

from sugarbush.concurrency import Condition, Plain, Settings, Shared, Unshared, explore, minimise, spawn


class Buffer(Shared):
    """One place, and one condition for both sides."""

    full: Plain[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.changed = Condition(name="changed")

    changed: Unshared[Condition]

    def change(self, full: bool, everybody: bool) -> None:
        """Put (`full`) or take, once the other side has done its part."""
        with self.changed:
            while self.full is full:
                self.changed.wait()
            self.full = full
            if everybody:
                self.changed.notify_all()
            else:
                self.changed.notify()


def program(everybody: bool = False) -> None:
    """Two that put and two that take."""
    buffer = Buffer()
    for n in range(2):
        spawn(buffer.change, True, everybody, name=f"put {n}")
        spawn(buffer.change, False, everybody, name=f"take {n}")


def main() -> None:
    """Find the deadlock, make it small, and see that it is gone with notify_all."""
    settings = Settings()
    result = explore(program, strategy="random", executions=5000, settings=settings)
    witness = minimise(program, result.failures[0], settings)
    print(f"notify: {witness.failure.headline}, with {witness.preemptions} preemptions")
    print(witness.failure.detail)
    result = explore(lambda: program(everybody=True), strategy="random", executions=1000, settings=settings)
    print(f"notify_all: {result.verdict} after {result.executions} executions")


if __name__ == "__main__":
    main()
