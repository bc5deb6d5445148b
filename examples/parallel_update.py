"""Share one exploration among two processes: what they find is what one finds.

    python examples/parallel_update.py

Needs an installed sugarbush (or the repository as the working directory).
"""

from sugarbush.concurrency import Once, Shared, check, explore, join, spawn


class Counter(Shared):
    """A counter that two tasks add to."""

    value: Once[int] = 0

    def increment(self) -> None:
        """Read, then write: another task may run between."""
        self.value = self.value + 1


def lost_update() -> None:
    """At the top of the module, so that another process can import it."""
    counter = Counter()
    join(*[spawn(counter.increment, name=f"adder {n}") for n in (1, 2)])
    check(counter.value == 2, "both increments count")


def main() -> None:
    """Explore with one job, and with two."""
    for strategy in ("random", "dfs"):
        alone = explore(lost_update, strategy=strategy)
        shared = explore(lost_update, strategy=strategy, jobs=2)
        first, second = alone.failures[0], shared.failures[0]
        assert (first.execution, first.schedule) == (second.execution, second.schedule)
        print(f"{strategy}: execution {second.execution} of either, {second.schedule}")


if __name__ == "__main__":
    main()
