"""Two tasks add to one counter without a lock: find the schedule that loses an update, and show it.

    python examples/concurrency_lost_update.py

Needs an installed sugarbush (or the repository as the working directory).
"""

from sugarbush.concurrency import Mutex, Once, Shared, check, explore, join, replay, spawn


class Counter(Shared):
    """`value` is declared as accessed with READ_ONCE() and WRITE_ONCE(): a race there is no data race."""

    value: Once[int] = 0

    def increment(self) -> None:
        """Read, then write: two operations, and another task may run between them."""
        self.value = self.value + 1


def lost_update() -> None:
    """The program with the bug."""
    counter = Counter()
    join(*[spawn(counter.increment, name=f"adder {n}") for n in (1, 2)])
    check(counter.value == 2, "both increments count")


def locked_update() -> None:
    """The same with a mutex around the two operations."""
    counter, mutex = Counter(), Mutex("counter")

    def increment() -> None:
        with mutex:
            counter.increment()

    join(*[spawn(increment, name=f"adder {n}") for n in (1, 2)])
    check(counter.value == 2, "both increments count")


def main() -> None:
    """Explore both programs and print the witness of the first."""
    witness = explore(lost_update).failures[0]
    print(f"{witness.failure.headline}, under {witness.schedule}, in execution {witness.execution}:")
    for event in witness.events:
        print(f"  {event.step:3} {event.task:8} {event.what} {event.on}")
    again = replay(lost_update, str(witness.schedule))
    print(f"replayed: {again.failure.headline} at operation {again.failure.step}")
    result = explore(locked_update, executions=1000)
    print(f"with a mutex: {result.verdict} after {result.executions} executions")


if __name__ == "__main__":
    main()
