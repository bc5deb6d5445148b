"""A reduced search with a bound, in parts: whoever makes them, in whatever order, the result is that of one search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from bounded_programs import Body, World, placing_program, random_program
from divided_searches import Inline, told
from searched_in_parts import Run, Seen, TooMany, in_parts, whole

from sugarbush.concurrency import Settings, explore
from sugarbush.concurrency.core import NotAReport
from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.search import Processes
from sugarbush.concurrency.search.batch import Report
from sugarbush.concurrency.search.marks import Marks
from sugarbush.concurrency.strategies import Part
from sugarbush.concurrency.strategies.base import Divisible, Marking
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.bounded_parts import Entered
from sugarbush.concurrency.strategies.switch_points import SwitchPoint


def of_tasks(tasks: list[Body]) -> Run:
    """Runs a program of `bounded_programs`."""

    def run(search: BoundedDPOR) -> Callable[[], Any]:
        world = World(tasks)
        runtime = Simulated(search)
        return lambda: world.outcome(runtime.run(world.program).failure)

    return run


def compare(runs: Iterator[tuple[str, Run]], most: int, bounds: range = range(3)) -> tuple[int, int]:
    """How many searches were compared, and how many parts they had."""
    compared = parts = 0
    for name, run in runs:
        for bound in bounds:
            alone = whole(run, bound, most)
            if alone is None:
                break
            shared, many = in_parts(run, bound, Random(name))
            assert shared == alone, f"{name}, bound {bound}"
            compared, parts = compared + 1, parts + many
    return compared, parts


def small(seeds: range) -> Iterator[tuple[str, Run]]:
    for seed in seeds:
        tasks = (placing_program if seed % 2 else random_program)(Random(f"bounded {seed}"))
        yield f"{seed}: {tasks}", of_tasks(tasks)


def test_parts_in_any_order_make_the_executions_of_one_search() -> None:
    compared, parts = compare(small(range(14)), 60)
    assert (compared > 25, parts > 2 * compared) == (True, True)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_many_searches_in_parts(part: int) -> None:
    assert compare(small(range(5000 + 100 * part, 5100 + 100 * part)), 600, range(4))[0] > 200


# -- what could be lost between parts ---------------------------------------------------------------------------------


def _marks_stay_below(self: BoundedDPOR) -> None:
    _tell(self)
    self.marked = ()


def _only_the_last_execution_has_marked(self: Marks, report: Report) -> list[Part]:
    return _opened(self, Report(report.part, report.made[-1:]))


def _whoever_asks_opens(self: Marks, report: Report) -> list[Part]:
    self._open.clear()
    return _opened(self, report)


def _whoever_forbids_counts(self: Marks, *what: Any) -> None:
    self._cut.clear()
    _count(self, *what)


def _nothing_is_known(part: Part) -> Entered:
    one = _read(part)
    return Entered(one.ways, one.shared)


def _goes_back_behind_its_points(part: Part) -> Entered:
    one = _read(part)
    return Entered(one.ways, 0, one.racy)


def _as_if_told(self: SwitchPoint, most: int) -> int:
    return 0 if not self.racy or self.forbidden(most) else len(self.others) - self.way


def _sleeps_as_if_tried(self: BoundedDPOR, point: SwitchPoint, way: int) -> None:
    _follow(self, point, way)
    self._asleep |= set(point.tried[:-1])


_tell, _follow, _read = BoundedDPOR._tell, BoundedDPOR._follow, Entered.of
_opened, _count = Marks.opened, Marks.count
MUTANTS: list[tuple[type, str, Any]] = [
    # A race that reaches back before the root of its part.
    (BoundedDPOR, "_tell", _marks_stay_below),
    (Marks, "opened", _only_the_last_execution_has_marked),
    (Marks, "opened", _whoever_asks_opens),
    (Marks, "count", _whoever_forbids_counts),
    (Entered, "of", staticmethod(_nothing_is_known)),
    (Entered, "of", staticmethod(_goes_back_behind_its_points)),
    # A mark of an execution that is broken off, and made once more.
    (SwitchPoint, "left", _as_if_told),
    # The sleep sets of a search without a bound.
    (BoundedDPOR, "_follow", _sleeps_as_if_tried),
]


PROGRAMS = range(40)
Wholes = dict[tuple[str, int], Seen | None]


@pytest.fixture(scope="module")
def wholes() -> Wholes:
    """What one search sees of each program within each bound."""
    return {(name, bound): whole(run, bound, 60) for name, run in small(PROGRAMS) for bound in range(3)}


@pytest.mark.parametrize(
    ("where", "name", "mutant"),
    MUTANTS,
    ids=[getattr(what, "__func__", what).__name__.strip("_") for _, _, what in MUTANTS],
)
def test_a_search_whose_parts_tell_too_little_or_too_much_is_caught(
    where: type, name: str, mutant: Any, wholes: Wholes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differs(name: str, run: Run) -> bool:
        for bound in range(3):
            alone = wholes[name, bound]
            try:
                if (
                    alone is not None
                    and in_parts(run, bound, Random(name), 20 * len(alone[0]) + 50)[0] != alone
                ):
                    return True
            except (AssertionError, TooMany):
                return True
        return False

    monkeypatch.setattr(where, name, mutant)
    assert any(differs(*one) for one in small(PROGRAMS))


# -- what a user sees -------------------------------------------------------------------------------------------------


def test_it_can_be_divided() -> None:
    assert isinstance(BoundedDPOR(1), Divisible)
    assert isinstance(BoundedDPOR(1), Marking)


@pytest.mark.parametrize(
    ("strategy", "depth", "keep_going", "executions"),
    [
        ("dpor", 1, False, 300),
        ("dpor", 2, True, 300),
        ("idpor", 2, False, 300),
        ("idpor", 2, True, 500),
        # The budget ends on the way.
        ("dpor", 2, False, 7),
        ("dpor", 1, True, 5),
    ],
)
def test_an_exploration_has_the_result_of_one_process(
    strategy: str, depth: int, keep_going: bool, executions: int
) -> None:
    for seed in range(6):
        tasks = random_program(Random(f"bounded {seed}"))
        options: dict[str, Any] = {
            "strategy": strategy, "depth": depth, "keep_going": keep_going, "executions": executions,
            "settings": Settings(without=frozenset({"leak"})),
        }  # fmt: skip
        alone = explore(World(tasks).program, **options)
        shared = explore(World(tasks).program, **options, executor=Inline())
        assert told(shared) == told(alone), (seed, tasks)
        assert (shared.bound, shared.scope) == (alone.bound, alone.scope)


def test_two_processes_that_are_kept_share_one_search_after_the_other() -> None:
    tasks: list[Body] = [
        [("lock", "m"), ("write", "x", n), ("unlock", "m"), ("read", "x")] for n in (1, 2, 3)
    ]
    with Processes(2) as pool:
        for strategy, depth in (("dpor", 1), ("idpor", 2)):
            options: dict[str, Any] = {"strategy": strategy, "depth": depth}
            shared = explore(World(tasks).program, **options, executor=pool)
            assert told(shared) == told(explore(World(tasks).program, **options))


@pytest.mark.parametrize("part", [(0, 1), (-1, 0), (0, -1), (0, -1, 2), (0, -1, 0, 5), (0, -3, -1, 0)])
def test_what_is_no_part_is_refused(part: Part) -> None:
    with pytest.raises(NotAReport, match="is no part of a search within a bound"):
        BoundedDPOR(1).enter(part)
