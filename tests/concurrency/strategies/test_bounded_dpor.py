"""DPOR within a bound on preemptions loses no outcome and no trace that plain enumeration within the bound has."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from bounded_programs import (
    FOLLOW,
    MOVE,
    WRITTEN,
    Body,
    Places,
    Sees,
    TooMany,
    World,
    all_of,
    differs,
    joining_program,
    placing_program,
    random_program,
)

from sugarbush.concurrency import (
    ConcurrencyError,
    KmemCache,
    Mutex,
    RwSemaphore,
    Verdict,
    cpu_relax,
    explore,
    join,
    spawn,
)
from sugarbush.concurrency.core import JOIN
from sugarbush.concurrency.core.execution import START
from sugarbush.concurrency.core.sight import Sight
from sugarbush.concurrency.core.task import Task
from sugarbush.concurrency.lowlevel import Operation, Simulated, audit
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.events import Events
from sugarbush.concurrency.strategies.let_go import lets_go
from sugarbush.concurrency.strategies.switch_points import SwitchPoint
from sugarbush.concurrency.strategies.trace import Edges, Trace
from sugarbush.lockdep.model.gfp import GFP_KERNEL


def counted(tasks: list[Body], bounds: int = 4) -> list[int]:
    """The traces within bound 0, 1 and so on."""
    found = []
    for bound in range(bounds):
        search = BoundedDPOR(bound)
        runtime = Simulated(search)
        world = World(tasks)
        while search.left:
            try:
                assert runtime.run(world.program).failure is None
            except Pruned:
                continue
        found.append(search.traces)
    return found


LOCKED_TWICE: Body = [("lock", "m"), ("unlock", "m"), ("lock", "m"), ("unlock", "m")]
READS: Body = [("rwsem", "down_read"), ("rwsem", "up_read")]
WRITES: Body = [("rwsem", "down_write"), ("rwsem", "up_write")]
READS_AND_LOCKS: Body = [("read", "x"), ("lock", "n"), ("unlock", "n")]


@pytest.mark.parametrize(
    ("tasks", "traces"),
    [
        # Counted by hand, and by plain enumeration (`differs`). Bound 0: the tasks one after the other, in any order.
        ([[("write", "x", 1), ("write", "y", 1)], [("write", "y", 2)]], [2, 2, 2, 2]),
        (
            [
                [("read", "y"), ("write", "y", 1)],
                [("read", "y"), ("read", "z"), ("read", "z")],
                [("write", "z", 1), ("write", "y", 2)],
            ],
            [6, 15, 17, 17],
        ),
        ([LOCKED_TWICE, LOCKED_TWICE], [2, 4, 6, 6]),
        ([READS, READS, WRITES], [4, 15, 18, 18]),
        # Two of these are lost if a lock that is taken is compared with its last release only.
        ([READS_AND_LOCKS, READS_AND_LOCKS, [("write", "x", 1)]], [6, 8, 8, 8]),
    ],
)
def test_the_traces_within_a_bound_are_known(tasks: list[Body], traces: list[int]) -> None:
    assert counted(tasks) == traces
    assert not any(differs(tasks, bound, 2000) for bound in range(3))


def compare(
    seeds: range,
    most: int,
    program: Callable[[Random], list[Body]] = random_program,
    sight: Sight | None = None,
) -> int:
    """How many pairs of a random program and a bound were compared."""
    compared = 0
    for seed in seeds:
        tasks = program(Random(f"bounded {seed}"))
        for bound in range(4):
            try:
                difference = differs(tasks, bound, most, sight=sight)
            except TooMany:
                break
            assert not difference, f"seed {seed}, bound {bound}: {difference}\n{tasks}"
            compared += 1
    return compared


def test_random_programs_have_the_outcomes_and_traces_of_plain_enumeration() -> None:
    assert compare(range(40), most=60) > 60


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_many_random_programs_have_the_outcomes_and_traces_of_plain_enumeration(part: int) -> None:
    assert compare(range(1000 + 150 * part, 1150 + 150 * part), most=1500) > 300


def test_programs_whose_tasks_wait_for_each_others_end_lose_nothing() -> None:
    assert compare(range(30), 100, joining_program) > 40


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_many_programs_whose_tasks_wait_for_each_others_end_lose_nothing(part: int) -> None:
    assert compare(range(40000 + 150 * part, 40150 + 150 * part), 1500, joining_program) > 200


def test_operations_that_say_what_they_touch_lose_nothing() -> None:
    assert compare(range(30), 60, placing_program) > 40


def test_a_check_that_says_what_it_looks_at_sees_all_that_it_sees_under_plain_enumeration() -> None:
    assert compare(range(30), 60, placing_program, Sees()) > 40


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize("sight", [None, Sees()], ids=["no check", "a check"])
def test_many_random_programs_with_places_and_checks_lose_nothing(part: int, sight: Sight | None) -> None:
    seeds = range(20000 + 150 * part, 20150 + 150 * part)
    assert compare(seeds, 1500, placing_program, sight) > 300


@pytest.mark.parametrize("name", WRITTEN)
def test_programs_written_for_a_rule_lose_nothing(name: str) -> None:
    tasks, bound = WRITTEN[name]
    assert not differs(tasks, bound, 2000)


# -- each rule of the search is needed --------------------------------------------------------------------------------


def _only_the_last_ones(self: Trace, task: Task) -> Edges:
    edges = _edges(self, task)
    return Edges(edges.before, edges.direct, edges.direct)


def _not_the_block(self: SwitchPoint) -> None:
    self.racy = True


def _not_right_after_a_start(self: BoundedDPOR, races: list[int]) -> None:
    for number in races:
        place = self._made[number]
        if place is not None and self._trace.ops[number - 1] is not START:
            place.mark()


def _classical_sleep(self: BoundedDPOR, last: Any) -> bool:
    if isinstance(last, SwitchPoint):
        last.asleep |= {last.turn}
    return _turn(self, last)


def _a_failure_is_the_end(self: BoundedDPOR, steps: int, forced: int) -> None:
    self._runnable = ()
    _end(self, steps, forced)


def _who_waits_to_the_end_is_left_out(self: BoundedDPOR) -> None:
    tasks, self._trace.tasks = self._trace.tasks, {}
    _look_back(self)
    self._trace.tasks = tasks


def _the_end_of_a_task_is_none(self: Trace, task: Task) -> Edges:
    edges = _edges(self, task)
    return Edges(edges.before, [], []) if task.op is JOIN else edges


def _a_join_wakes_nobody(self: Events, one: Task, two: Task) -> bool:
    return JOIN not in (one.op, two.op) and _meet(self, one, two)


def _an_end_never_counts(self: BoundedDPOR, task: Task, edges: Edges) -> list[int]:
    return [number for number in edges.dependent if not lets_go(self._trace, number, task)]


def _sleeps_for_ever(self: BoundedDPOR, by: Task) -> frozenset[int]:
    return self._asleep - {by.id}


_edges, _turn = Trace.edges, BoundedDPOR._turn
_end, _look_back = BoundedDPOR.end, BoundedDPOR._look_back
_meet = Events.meet
MUTANTS: list[tuple[type, str, Callable[..., Any]]] = [
    (BoundedDPOR, "_wait", lambda self, ran: None),
    (BoundedDPOR, "_turn", _classical_sleep),
    (BoundedDPOR, "end", _a_failure_is_the_end),
    (BoundedDPOR, "_look_back", _who_waits_to_the_end_is_left_out),
    (BoundedDPOR, "_undisturbed", _sleeps_for_ever),
    (Trace, "edges", _only_the_last_ones),
    (Trace, "edges", _the_end_of_a_task_is_none),
    (BoundedDPOR, "_races", _an_end_never_counts),
    (SwitchPoint, "mark", _not_the_block),
    (BoundedDPOR, "_mark", _not_right_after_a_start),
]
FAILS: list[Body] = [[("read", "x"), ("fail_if", 0)], [("write", "x", 2)]]
"""The first task fails unless the second one comes first, which has shown nothing by then."""


@pytest.mark.parametrize(
    ("where", "name", "mutant"), MUTANTS, ids=lambda what: getattr(what, "__name__", str(what))
)
def test_a_search_without_one_of_its_rules_loses_something(
    where: type, name: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, mutant)
    programs = [*WRITTEN.values(), ([READS_AND_LOCKS, READS_AND_LOCKS, [("write", "x", 1)]], 1), (FAILS, 1)]
    assert any(differs(tasks, bound, 2000) for tasks, bound in programs)


def test_who_comes_to_join_a_sleeping_task_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only if the first task is preempted between its writes, both others come to their joins at no cost."""
    joins: list[Body] = [[("read", "y"), ("write", "x", n), ("join", 0), ("read", "x")] for n in (1, 2)]
    tasks: list[Body] = [[("write", "y", 1), ("write", "z", 1)], *joins, [("write", "x", 3)]]
    both_read_3 = ("", ((), (1, 3), (1, 3), ()), 3, 1, 1)
    assert both_read_3 in all_of(tasks, BoundedDPOR(1), 5000)
    monkeypatch.setattr(Events, "meet", _a_join_wakes_nobody)
    assert both_read_3 not in all_of(tasks, BoundedDPOR(1), 5000)


SEEN: list[tuple[list[Body], int]] = [
    # The check looks after the unlock; what it finds is decided by writes that nothing else orders.
    ([[("lock", "l"), ("unlock", "l")], [("write", "x", 1), ("write", "y", 2), ("write", "y", 0)]], 1),
    ([[("write", "x", 3), ("write", "z", 1)], [("write", "y", 1), ("write", "y", 0)]], 1),
]
"""Programs in which a check sees a state that only some orders pass through, each with its bound."""


@pytest.mark.parametrize(
    "sees",
    # It does not see what is written when it looks after the unlock; not when it looks after another write.
    [{0: 0, 1: 0, 2: 6, 4: 2}, {0: 0, 1: 6, 2: 1, 4: 1}],
)
def test_a_check_that_says_too_little_is_caught(
    sees: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(differs(tasks, bound, 2000, sight=Sees()) for tasks, bound in SEEN)
    monkeypatch.setattr(Sees, "sees", lambda _, kinds: sees[kinds])
    assert any(differs(tasks, bound, 2000, sight=Sees()) for tasks, bound in SEEN)


@pytest.mark.parametrize(
    ("op", "left_out"),
    [(MOVE, 0), (MOVE, 1), (FOLLOW, 0), (FOLLOW, 2)],
    ids=["what is moved", "where to", "what is asked", "what is changed"],
)
def test_an_operation_that_says_too_little_is_caught(
    op: Operation, left_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    touches = op.touches
    assert touches is not None
    programs: list[list[Body]] = [
        [[("move", "x", "y")], [("write", "x", 1)]],
        [[("write", "x", 1), ("move", "x", "y")], [("read", "y")]],
        [[("follow",)], [("write", "x", 1)]],
        [[("follow",)], [("read", "z")]],
    ]
    assert not any(differs(tasks, 1, 2000) for tasks in programs)

    def lacking(*what: Any) -> list[Any]:
        return [place for number, place in enumerate(touches(*what) or ()) if number != left_out]

    monkeypatch.setattr(op, "touches", lacking)
    assert any(differs(tasks, 1, 2000) for tasks in programs)
    assert any(audit(World(tasks).program, keep_going=True).found for tasks in programs)


@pytest.mark.parametrize("stepped", [False, True])
def test_who_touches_what_was_freed_may_have_come_first(stepped: bool) -> None:
    """Whoever comes second fails before it has made an operation on the object."""

    def program() -> None:
        cache = KmemCache("places", lambda: Places(x=0, y=0, z=0), stepped=stepped)
        thing = cache.alloc(GFP_KERNEL)
        join(spawn(cache.free, thing), spawn(lambda: seen.append(thing.x)))

    for depth in range(2):
        found = []
        for strategy in ("dfs", "dpor"):
            seen: list[int] = []
            result = explore(program, strategy=strategy, depth=depth, keep_going=True)
            found.append(({one.failure.kind for one in result.failures}, set(seen)))
        assert found == [({"use-after-free"}, {0})] * 2


# -- what a user sees ---------------------------------------------------------------------------------------------


def lost_update() -> None:
    places = Places(x=0, y=0, z=0)

    def add() -> None:
        places.x = places.x + 1

    join(spawn(add), spawn(add))
    assert places.x == 2


def two_that_lock() -> None:
    one, rwsem = Mutex("one"), RwSemaphore("rwsem")

    def work() -> None:
        with one:
            rwsem.down_read()
            rwsem.up_read()

    join(spawn(work), spawn(work))


def test_the_bound_says_what_it_cut_and_what_was_seen() -> None:
    result = explore(two_that_lock, strategy="dpor", depth=0)
    assert (result.verdict, result.bound) == (Verdict.PASSED, 0)
    assert (
        result.scope
        == "every schedule within preemption bound 0, which cut 4 switch points (2 traces, 2 executions)"
    )
    result = explore(two_that_lock, strategy="dpor", depth=2)
    assert (result.verdict, result.cut) == (Verdict.PASSED, 0)
    assert result.scope == f"every schedule (2 traces, {result.executions} executions)"


def test_the_bound_is_raised_until_it_cuts_nothing() -> None:
    result = explore(two_that_lock, strategy="idpor")
    assert (result.verdict, result.completed, result.cut) == (Verdict.PASSED, 1, 0)
    assert result.scope.startswith("every schedule (2 traces")


def test_a_failure_is_found_with_the_fewest_preemptions() -> None:
    assert explore(lost_update, strategy="dpor", depth=0).verdict is Verdict.PASSED
    result = explore(lost_update, strategy="idpor")
    assert (result.failures[0].preemptions, result.completed) == (1, 0)


def test_a_budget_ends_a_search_with_the_last_bound_that_was_done() -> None:
    result = explore(two_that_lock, strategy="idpor", executions=3)
    assert (result.verdict, result.completed) == (Verdict.INCONCLUSIVE, 0)
    assert result.scope == "every schedule within preemption bound 0, and some of bound 1"


def test_a_test_and_set_lock_of_three_tasks_is_passed_within_a_bound() -> None:
    def program() -> None:
        places = Places(x=0, y=0, z=0)

        def work() -> None:
            while places.x:
                cpu_relax()
            places.x = 1
            places.x = 0

        join(*[spawn(work) for _ in range(3)])

    result = explore(program, strategy="dpor", depth=1)
    assert result.verdict is Verdict.PASSED


@pytest.mark.parametrize("depth", [-1, 1.5, "2"])
def test_a_bound_that_makes_no_sense_is_refused(depth: Any) -> None:
    with pytest.raises(ConcurrencyError, match="the depth of dpor counts preemptions"):
        explore(two_that_lock, strategy="dpor", depth=depth)
