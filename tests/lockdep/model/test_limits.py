"""What the validator does not see, each miss pinned: docs/lockdep.md lists them."""

from __future__ import annotations

import pytest
from lockdep_world import World

from sugarbush.lockdep import ReportKind
from sugarbush.lockdep.engine.lockorder import MM_LOCK_ORDER, prime


def test_a_nest_lock_is_trusted_though_others_take_the_class_without_it(world: World) -> None:
    nest, first, second = (world.lock(name) for name in ("nest", "x", "x"))
    world.take(second)
    with world.held(nest), world.held(first, nest_lock=nest):
        world.take(second, nest_lock=nest)
    assert world.kinds == []


def test_a_lock_that_another_task_holds_can_be_freed(world: World) -> None:
    lock = world.lock("lock")
    with world.held(lock), world.task("other"):
        world.lockdep.free_check([lock])
    assert world.kinds == []


def test_trylock_loops_against_each_other_are_silent(world: World) -> None:
    a, b = world.locks("a b")
    for first, second in ((a, b), (b, a)):
        with world.held(first, trylock=True):
            world.take(second, trylock=True)
    assert world.kinds == []


def test_two_interrupts_of_one_kind_are_one_context(world: World) -> None:
    a, b = world.locks("a b")
    for first, second in ((a, b), (b, a)):
        with world.hardirq():
            world.take(first, second)
    assert world.kinds == [ReportKind.CIRCULAR]


def test_a_plain_reader_in_an_interrupt_is_taken_for_a_recursive_one_by_what_comes_later(
    world: World,
) -> None:
    """The usage says that a reader was there, not of which kind, so only the other order of the two is reported.

    Kernel v6.6: check_usage_backwards() begins at a reader, which is `only_xr` there, and usage_match() leaves
    LOCK_USED_IN_HARDIRQ_READ out. It cannot know of more than the bit.
    """
    lock = world.lock("lock")
    with world.hardirq():
        world.take(lock, read=1)
    world.take(lock, read=1)
    assert world.kinds == []


def test_a_grace_period_waited_for_under_a_lock_that_readers_take_is_silent(world: World) -> None:
    lock = world.lock("lock")
    world.lockdep.rcu_read_lock()
    world.take(lock)
    world.lockdep.rcu_read_unlock()
    with world.held(lock):
        world.lockdep.synchronize_rcu()
    assert world.kinds == []


def test_a_guarded_cycle_counts_as_real_when_the_search_ends_early(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sugarbush.lockdep.prove.guards.BUDGET", 0)
    gate, a, b = world.locks("gate a b")
    world.take(gate, a, b)
    world.take(gate, b, a)
    assert world.kinds == [ReportKind.CIRCULAR]


def test_a_primed_order_shows_its_first_violation(world: World) -> None:
    for stack in MM_LOCK_ORDER:
        prime(world.lockdep, [(world.lock(name), 0) for name in stack])
    assert world.ctx.held == []
    assert world.kinds == []
    world.take(world.lock("anon_vma->rwsem"), world.lock("mapping->i_mmap_rwsem"))
    assert world.kinds == [ReportKind.CIRCULAR]


def test_priming_knows_read_modes(world: World) -> None:
    a, b = world.locks("a b")
    prime(world.lockdep, [(a, 1), (b, 2)])
    assert world.edges() == {"a -SR> b"}


def test_a_new_dependency_looks_at_each_reachable_one_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sugarbush.lockdep.model import graph

    looked = 0

    def counting(lock_class: object) -> bool:
        nonlocal looked
        looked += 1
        return False

    maps = [world.lock(f"lock{index}") for index in range(30)]
    for outer in range(30):
        for inner in range(outer + 1, 30):
            world.take(maps[outer], maps[inner])
    monkeypatch.setattr(graph.search_forwards, "__defaults__", (counting,))
    world.take(world.lock("head"), maps[0])
    assert world.kinds == []
    assert looked <= 1 + 30 * 29 // 2
