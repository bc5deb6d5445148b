"""Which dependencies a stack of locks makes, and which cycles of them are reported (facts 1.4 to 1.6, 1.10)."""

from __future__ import annotations

from itertools import permutations

import pytest
from lockdep_world import World

from sugarbush.lockdep import ReportKind, WaitType
from sugarbush.lockdep.reports import CircularReport, RecursiveReport

CIRCULAR, RECURSIVE, GUARDED = ReportKind.CIRCULAR, ReportKind.RECURSIVE, ReportKind.GUARDED


@pytest.mark.parametrize(
    ("held", "wanted", "kind"),
    [(0, 2, "ER"), (0, 0, "EN"), (0, 1, "EN"), (1, 2, "SR"), (2, 2, "SR"), (1, 0, "SN"), (2, 1, "SN")],
)
def test_dependency_kind_follows_from_both_modes(world: World, held: int, wanted: int, kind: str) -> None:
    a, b = world.locks("a b")
    with world.held(a, read=held):
        world.take(b, read=wanted)
    assert world.edges() == {f"a -{kind}> b"}


def test_kinds_of_one_pair_accumulate(world: World) -> None:
    a, b = world.locks("a b")
    for held, wanted in ((0, 0), (1, 2)):
        with world.held(a, read=held):
            world.take(b, read=wanted)
    assert world.edges() == {"a -EN|SR> b"}


def test_only_the_lock_last_waited_for_is_the_source_of_a_dependency(world: World) -> None:
    a, b, c = world.locks("a b c")
    world.take(a, b, c)
    assert world.edges() == {"a -EN> b", "b -EN> c"}


def test_trylock_makes_no_incoming_dependency_but_outgoing_ones(world: World) -> None:
    a, b, c = world.locks("a b c")
    with world.held(a), world.held(b, trylock=True):
        world.take(c)
    assert world.edges() == {"a -EN> c", "b -EN> c"}


def test_abba_with_a_trylock_is_no_deadlock(world: World) -> None:
    a, b = world.locks("a b")
    world.take(a, b)
    with world.held(b):
        world.take(a, trylock=True)
    assert world.kinds == []


def test_a_lock_got_by_trylock_can_be_what_others_wait_for(world: World) -> None:
    a, b = world.locks("a b")
    with world.held(a, trylock=True):
        world.take(b)
    with world.held(b):
        world.take(a)
    assert world.kinds == [CIRCULAR]


def test_unchecked_locks_make_no_dependencies_and_are_walked_past(world: World) -> None:
    a, b, c = world.locks("a b c")
    with world.held(a), world.held(b, check=False):
        world.take(c)
    assert world.edges() == {"a -EN> c"}


def test_no_dependency_leaves_the_interrupted_context(world: World) -> None:
    a, b, c = world.locks("a b c")
    with world.held(a):
        with world.hardirq():
            world.take(b, c)
        world.take(c)
    assert world.edges() == {"b -EN> c", "a -EN> c"}


def test_nested_handlers_of_one_context_are_one_stack(world: World) -> None:
    a, b = world.locks("a b")
    with world.hardirq():
        world.take(b)
    with world.hardirq(), world.held(a), world.hardirq():
        world.take(b)
    assert world.edges() == {"a -EN> b"}


def test_abba_is_reported_with_both_places(world: World) -> None:
    a, b = world.locks("a b")
    world.take(a, b)
    world.take(b, a)
    report = world.only
    assert isinstance(report, CircularReport)
    assert (report.wanted.name, report.owned.name) == ("a", "b")
    assert [link.wanted.name for link in report.chain] == ["b", "a"]
    assert all(link.stack[0].file.endswith("lockdep_world.py") for link in report.chain)
    assert [(state.holds, state.wants) for state in report.witness] == [(("b",), "a"), (("a",), "b")]


@pytest.mark.parametrize("order", list(permutations([("a", "b"), ("b", "c"), ("c", "a")])))
def test_a_ring_of_three_is_reported_by_whichever_comes_last(
    world: World, order: tuple[tuple[str, str], ...]
) -> None:
    maps = dict(zip("abc", world.locks("a b c"), strict=True))
    for outer, inner in order[:2]:
        world.take(maps[outer], maps[inner])
    assert world.kinds == []
    world.take(maps[order[2][0]], maps[order[2][1]])
    assert world.kinds == [CIRCULAR]


def test_the_shortest_cycle_is_reported(world: World) -> None:
    a, b, c, d, short = world.locks("a b c d short")
    world.take(a, short, d)
    world.take(a, b, c, d)
    world.take(d, a)
    report = world.only
    assert isinstance(report, CircularReport)
    assert [link.wanted.name for link in report.chain] == ["d", "short", "a"]


def test_recursive_readers_make_no_cycle_among_readers(world: World) -> None:
    a, b = world.locks("a b")
    world.take(a, b, read=2)
    world.take(b, a, read=2)
    assert world.kinds == []


def test_plain_readers_make_a_cycle_because_a_writer_may_queue_between(world: World) -> None:
    a, b = world.locks("a b")
    world.take(a, b, read=1)
    world.take(b, a, read=1)
    assert world.kinds == [CIRCULAR]


def test_a_weak_meeting_point_breaks_the_cycle_and_a_strong_kind_added_later_closes_it(world: World) -> None:
    a, b = world.locks("a b")
    with world.held(a):
        world.take(b, read=2)
    with world.held(b, read=1):
        world.take(a)
    assert world.kinds == []
    with world.held(a):
        world.take(b, read=1)
    assert world.kinds == [CIRCULAR]


def test_a_weak_meeting_point_in_the_middle_of_a_path_breaks_the_cycle(world: World) -> None:
    a, b, c = world.locks("a b c")
    with world.held(a):
        world.take(b, read=2)
    with world.held(b, read=2):
        world.take(c)
    world.take(c, a)
    assert world.kinds == []


def test_a_recursive_reader_is_blocked_by_an_exclusive_hold(world: World) -> None:
    a, b = world.locks("a b")
    with world.held(b):
        world.take(a, read=2)
    world.take(a, b)
    assert world.kinds == [CIRCULAR]


def test_the_chain_that_is_known_in_one_mode_is_new_in_another(world: World) -> None:
    a, b = world.locks("a b")
    world.take(b, a)
    with world.held(a):
        world.take(b, read=2)
    assert world.kinds == [CIRCULAR]
    assert world.edges() == {"b -EN> a", "a -ER> b"}


@pytest.mark.parametrize("held", [0, 1, 2])
@pytest.mark.parametrize("wanted", [0, 1, 2])
@pytest.mark.parametrize("same", [True, False])
def test_one_class_twice_is_recursion_unless_a_reader_meets_a_recursive_one(
    world: World, held: int, wanted: int, same: bool
) -> None:
    first, second = world.lock("x"), world.lock("x")
    with world.held(first, read=held):
        world.take(first if same else second, read=wanted)
    assert world.kinds == ([] if held and wanted == 2 else [RECURSIVE])


def test_recursion_is_seen_behind_other_locks(world: World) -> None:
    x, other, y = world.lock("x"), world.lock("other"), world.lock("x")
    world.take(x, other, y)
    assert RECURSIVE in world.kinds


def test_trylock_is_never_recursion(world: World) -> None:
    x, y = world.lock("x"), world.lock("x")
    with world.held(x):
        world.take(y, trylock=True)
    assert world.kinds == []


def test_subclasses_of_one_key_may_nest_and_have_an_order(world: World) -> None:
    x, y = world.lock("x"), world.lock("x")
    with world.held(x):
        world.take(y, subclass=1)
    assert world.kinds == []
    assert world.edges() == {"x -EN> x/1"}
    with world.held(y, subclass=1):
        world.take(x)
    assert world.kinds == [CIRCULAR]


def test_ordering_function_lets_instances_nest_one_way_only(world: World) -> None:
    rank = {}
    first, second = (world.lock("x", order=lambda a, b: rank[a] - rank[b]) for _ in range(2))
    rank.update({first: 1, second: 2})
    world.take(first, second)
    assert world.kinds == []
    world.take(second, first)
    report = world.only
    assert isinstance(report, RecursiveReport)
    assert report.comparison == 1


def test_ordering_function_is_asked_for_every_pair_though_the_stack_is_known(world: World) -> None:
    rank = {}
    locks = [world.lock("x", order=lambda a, b: rank[a] - rank[b]) for _ in range(3)]
    rank.update(zip(locks, (1, 2, 3), strict=True))
    world.take(locks[0], locks[1])
    world.take(locks[2], locks[1])
    assert world.kinds == [RECURSIVE]


def test_a_known_acquire_is_not_looked_at_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = world.locks("a b", WaitType.SLEEP)
    world.take(a, b)
    monkeypatch.setattr(type(world.lockdep), "_acquire_unseen", None)
    for _ in range(3):
        world.take(a, b)
    assert world.kinds == []


def test_the_graph_is_not_searched_for_a_known_pair(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = world.locks("a b c")
    world.take(a, b)
    world.take(c, a)
    monkeypatch.setattr("sugarbush.lockdep.prove.prover.find_cycle", None)
    world.take(c, a, b)
    assert world.edges() == {"a -EN> b", "c -EN> a"}


def test_sync_is_validated_and_not_held(world: World) -> None:
    domain, lock = world.locks("srcu lock")
    with world.held(domain, read=2):
        world.take(lock)
    with world.held(lock):
        world.lockdep.wait_for_readers(domain)
        assert not world.lockdep.is_held(domain)
    assert world.kinds == [CIRCULAR]
    assert "sync(srcu);" in world.only.render()


def test_waiting_for_readers_inside_one_is_recursion(world: World) -> None:
    domain = world.lock("srcu")
    with world.held(domain, read=2):
        world.lockdep.wait_for_readers(domain)
    assert world.kinds == [RECURSIVE]


def test_sync_with_a_nest_lock_does_not_merge(world: World) -> None:
    nest, x, y = world.lock("nest"), world.lock("x"), world.lock("x")
    with world.held(nest), world.held(x, nest_lock=nest):
        world.lockdep.acquire(y, nest_lock=nest, sync=True)
    assert world.kinds == []
    assert world.ctx.held == []


def test_might_lock_finds_the_order_without_the_slow_path(world: World) -> None:
    a, b = world.locks("a b")
    with world.held(a):
        world.lockdep.might_lock(b)
    with world.held(b):
        world.lockdep.might_lock(a, read=1)
    assert world.kinds == [CIRCULAR]


def test_each_cycle_is_reported_once_and_the_validator_goes_on(world: World) -> None:
    a, b, c, d = world.locks("a b c d")
    for _ in range(3):
        world.take(a, b)
        world.take(b, a)
    world.take(c, d)
    with world.task("other"):
        world.take(d, c)
        world.take(d, c)
    assert world.kinds == [CIRCULAR, CIRCULAR]
