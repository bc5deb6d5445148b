"""RCU-lockdep: readers, dereferences, and what a reader must not do (facts 1.16)."""

from __future__ import annotations

import pytest
from lockdep_world import World

from sugarbush.lockdep import ReportKind, WaitType
from sugarbush.lockdep.reports import RcuReport


def messages(world: World) -> list[str]:
    return [report.message for report in world.lockdep.reports if isinstance(report, RcuReport)]


def test_readers_nest_and_make_no_dependencies(world: World) -> None:
    lock = world.lock("lock", WaitType.CONFIG)
    with world.held(lock):
        world.lockdep.rcu_read_lock()
        world.lockdep.rcu_read_lock()
        world.take(world.lock("inner", WaitType.CONFIG))
        world.lockdep.rcu_read_unlock()
        assert world.lockdep.rcu_read_lock_held()
        world.lockdep.rcu_read_unlock()
    assert not world.lockdep.rcu_read_lock_held()
    assert world.kinds == []
    assert world.edges() == {"lock -EN> inner"}
    assert world.ctx.rcu_depth == 0


def test_unlock_without_lock_is_reported(world: World) -> None:
    world.lockdep.rcu_read_unlock()
    assert world.kinds == [ReportKind.BAD_UNLOCK]
    assert world.ctx.rcu_depth == 0


def test_dereference_needs_a_reader_or_a_condition(world: World) -> None:
    world.lockdep.rcu_read_lock()
    world.lockdep.rcu_dereference_check()
    world.lockdep.rcu_read_unlock()
    world.lockdep.rcu_dereference_check(True)
    assert messages(world) == []
    world.lockdep.rcu_dereference_check()
    assert messages(world) == ["suspicious rcu_dereference_check() usage"]


def test_update_side_dereference_needs_its_condition_even_in_a_reader(world: World) -> None:
    world.lockdep.rcu_dereference_protected(True)
    world.lockdep.rcu_read_lock()
    world.lockdep.rcu_dereference_protected(False)
    assert messages(world) == ["suspicious rcu_dereference_protected() usage"]


def test_each_place_is_reported_once(world: World) -> None:
    for _ in range(3):
        world.lockdep.rcu_dereference_check()
    world.lockdep.rcu_dereference_check()
    assert len(messages(world)) == 2


@pytest.mark.parametrize(
    ("flavour", "name"), [("rcu", "RCU"), ("rcu_bh", "RCU-bh"), ("rcu_sched", "RCU-sched")]
)
def test_no_voluntary_switch_and_no_grace_period_inside_a_reader(
    world: World, flavour: str, name: str
) -> None:
    world.lockdep.rcu_context_switch()
    world.lockdep.synchronize_rcu()
    with world.held(getattr(world.lockdep.maps, flavour), read=2, check=False):
        world.lockdep.rcu_context_switch()
        world.lockdep.synchronize_rcu()
        assert world.lockdep.rcu_read_lock_any_held()
        assert world.lockdep.rcu_reader_depth() == 1
    assert messages(world) == [
        f"Illegal context switch in {name} read-side critical section",
        "Illegal synchronize_rcu() in RCU read-side critical section",
    ]


def test_any_reader_is_also_wherever_preemption_is_off(world: World) -> None:
    assert not world.lockdep.rcu_read_lock_any_held()
    for context in ("irqs_off", "bh_off", "hardirq", "softirq"):
        with getattr(world, context)():
            assert world.lockdep.rcu_read_lock_any_held()
    world.ctx.preempt_count = 1
    assert world.lockdep.rcu_read_lock_any_held()


def test_when_unsure_the_answer_is_yes(world: World) -> None:
    world.lockdep.lockdep_off()
    assert world.lockdep.rcu_read_lock_held()
    assert world.lockdep.rcu_read_lock_any_held()
    world.lockdep.rcu_dereference_check()
    world.lockdep.rcu_dereference_protected(False)
    assert world.kinds == []


def test_a_mutex_inside_a_reader_is_an_invalid_wait(world: World) -> None:
    world.lockdep.rcu_read_lock()
    world.take(world.lock("mutex", WaitType.SLEEP))
    assert world.kinds == [ReportKind.WAIT_CONTEXT]


def test_report_names_the_callers_line(world: World) -> None:
    world.lockdep.rcu_dereference_check()
    report = world.only
    assert isinstance(report, RcuReport)
    assert report.site.file == __file__
    assert "test_rcu_lockdep.py" in report.render().splitlines()[5]


def test_readers_protect_nothing_in_the_idle_loop(world: World) -> None:
    world.lockdep.rcu_read_lock()
    world.lockdep.rcu_idle_enter()
    assert not world.lockdep.rcu_read_lock_held()
    with world.irqs_off():
        assert not world.lockdep.rcu_read_lock_any_held()
    world.lockdep.rcu_read_unlock()
    assert messages(world) == ["rcu_read_unlock() used illegally while idle"]
    world.lockdep.rcu_idle_exit()
    world.lockdep.rcu_read_lock()
    assert world.lockdep.rcu_read_lock_held()
    assert len(world.kinds) == 1


@pytest.mark.parametrize("reader", ["same", "rcu", "other", "none"])
def test_waiting_for_srcu_readers_inside_a_reader(world: World, reader: str) -> None:
    domain, other = world.lock("srcu"), world.lock("other")
    if reader == "same":
        world.lockdep.srcu_read_lock(domain)
    elif reader == "rcu":
        world.lockdep.rcu_read_lock()
    elif reader == "other":
        world.lockdep.srcu_read_lock(other)
    world.lockdep.synchronize_srcu(domain)
    illegal = reader in ("same", "rcu")
    assert bool(messages(world)) == illegal
    assert (ReportKind.RECURSIVE in world.kinds) == (reader == "same")


def test_srcu_readers_make_dependencies(world: World) -> None:
    domain, lock = world.locks("srcu lock")
    world.lockdep.srcu_read_lock(domain)
    world.take(lock)
    world.lockdep.srcu_read_unlock(domain)
    with world.held(lock):
        world.lockdep.synchronize_srcu(domain)
    assert world.kinds == [ReportKind.CIRCULAR]


@pytest.mark.parametrize("flavour", ["bh", "sched"])
def test_bh_and_sched_readers(world: World, flavour: str) -> None:
    lockdep = world.lockdep
    lock, unlock = (getattr(lockdep, f"rcu_read_{what}_{flavour}") for what in ("lock", "unlock"))
    held = getattr(lockdep, f"rcu_read_lock_{flavour}_held")
    assert not held()
    lock()
    lock()
    assert held()
    assert not lockdep.rcu_read_lock_held()
    assert lockdep.rcu_reader_depth() == 2
    lockdep.synchronize_rcu()
    unlock()
    assert held()
    unlock()
    assert not held()
    assert messages(world) == ["Illegal synchronize_rcu() in RCU read-side critical section"]


@pytest.mark.parametrize("flavour", ["bh", "sched"])
def test_bh_and_sched_readers_that_were_never_entered(world: World, flavour: str) -> None:
    if flavour == "bh":
        world.lockdep.local_bh_disable()
    getattr(world.lockdep, f"rcu_read_unlock_{flavour}")()
    assert world.kinds == [ReportKind.BAD_UNLOCK]


def test_what_else_counts_as_a_bh_or_sched_reader(world: World) -> None:
    for context in ("irqs_off", "bh_off", "hardirq", "softirq"):
        with getattr(world, context)():
            assert world.lockdep.rcu_read_lock_bh_held()
            assert world.lockdep.rcu_read_lock_sched_held()
    world.ctx.preempt_count = 1
    assert world.lockdep.rcu_read_lock_sched_held()
    assert not world.lockdep.rcu_read_lock_bh_held()


def test_srcu_readers_are_held_by_domain(world: World) -> None:
    domain, other = world.lock("srcu"), world.lock("other")
    world.lockdep.srcu_read_lock(domain)
    assert world.lockdep.srcu_read_lock_held(domain)
    assert not world.lockdep.srcu_read_lock_held(other)
    world.lockdep.srcu_read_unlock(domain)
    assert not world.lockdep.srcu_read_lock_held(domain)
