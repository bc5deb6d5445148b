"""What the page says that is not done: each miss is pinned, so that it is taken off the page when it is mended."""

from __future__ import annotations

from concurrency_programs import BARE, Cell, every_execution, outcomes

from sugarbush.concurrency import Settings, check, explore, join, spawn


def test_limit_no_stale_values() -> None:
    """Store buffering: on hardware both may read 0; here one of them always reads 1."""

    def program(log: list[int]) -> None:
        x, y = Cell(), Cell()

        def left() -> int:
            x.once = 1
            return y.once

        def right() -> int:
            y.once = 1
            return x.once

        log += join(spawn(left), spawn(right))

    assert outcomes(program) == {(0, 1), (1, 0), (1, 1)}


def test_limit_only_operations_count_as_steps() -> None:
    def program() -> None:
        cell = Cell()
        for n in range(10_000):
            if n % 1000 == 0:
                cell.once = n

    assert not explore(program, executions=1, settings=Settings(max_steps=20)).failures


def test_limit_catching_base_exception_delays_the_end() -> None:
    went_on: list[int] = []

    def greedy(cell: Cell) -> None:
        try:
            cell.once = 1
            cell.once = 2
        except BaseException:
            went_on.append(1)

    def program() -> None:
        cell = Cell()
        spawn(greedy, cell)
        cell.once = 0
        check(False, "the end")

    for execution in every_execution(program):
        assert execution.failure is not None
        assert execution.failure.headline == "check failed: the end"
    assert went_on
    assert BARE.max_steps == Settings().max_steps
