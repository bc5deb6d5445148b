"""What rcutorture says of RCU, and of an RCU whose grace periods overlook one reader.

    python examples/rcu_torture.py

The patch takes one line out of a grace period. Torture finds it within a few executions; the replay shows the reader
that was let down.
"""

from collections.abc import Iterable
from unittest.mock import patch

from sugarbush.concurrency import Task, explore
from sugarbush.concurrency.rcu import RcuDomain
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.scenarios import find_scenario
from sugarbush.stress.torture.ledger import closing

registry.load()

TORTURE = find_scenario("rcutorture")


def say(title: str) -> None:
    """Explore the test, and print what it has counted."""
    result = explore(TORTURE.program, executions=200, settings=TORTURE.settings())
    print(f"{title}: {result.verdict} after {result.executions} executions")
    for line in closing():
        print(f"  {line}")
    for witness in result.failures:
        print(f"  {witness.failure.headline}")


def overlook_one(rcu: RcuDomain) -> Iterable[Task]:
    """All tasks inside rcu_read_lock(), but for the first one."""
    return list(rcu.readers)[1:]


def main() -> None:
    """Torture RCU as it is, then with the patch."""
    say("RCU")
    with patch.object(RcuDomain, "open_readers", overlook_one):
        say("an RCU that overlooks a reader")


if __name__ == "__main__":
    main()
