"""GFP contexts: fs_reclaim as a lock, memalloc scopes, sleeping in atomic context (facts 1.14, 2.13)."""

from __future__ import annotations

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockdepError, ReportKind, WaitType
from sugarbush.lockdep.model import gfp
from sugarbush.lockdep.reports import CircularReport, SleepReport


def held(world: World) -> list[str]:
    return [line.name for line in world.lockdep.held_locks(world.ctx)]


@pytest.mark.parametrize(
    ("flags", "entered"),
    [
        (gfp.GFP_KERNEL, True),
        (gfp.GFP_HIGHUSER_MOVABLE, True),
        (gfp.GFP_NOFS, False),
        (gfp.GFP_NOIO, False),
        (gfp.GFP_ATOMIC, False),
        (gfp.GFP_NOWAIT, False),
        (gfp.GFP_KERNEL | gfp.GFP_NOLOCKDEP, False),
    ],
)
def test_only_direct_reclaim_with_fs_takes_the_pseudo_lock(world: World, flags: int, entered: bool) -> None:
    world.lockdep.fs_reclaim_acquire(flags)
    assert held(world) == (["fs_reclaim"] if entered else [])
    world.lockdep.fs_reclaim_release(flags)
    assert held(world) == []
    assert world.kinds == []


@pytest.mark.parametrize("scope", ["nofs", "noio", "noreclaim"])
def test_scopes_keep_allocations_out_and_nest(world: World, scope: str) -> None:
    save = getattr(world.lockdep, f"memalloc_{scope}_save")
    restore = getattr(world.lockdep, f"memalloc_{scope}_restore")
    outer, inner = save(), save()
    world.lockdep.fs_reclaim_acquire(gfp.GFP_KERNEL)
    restore(inner)
    world.lockdep.fs_reclaim_acquire(gfp.GFP_KERNEL)
    assert held(world) == []
    restore(outer)
    world.lockdep.fs_reclaim_acquire(gfp.GFP_KERNEL)
    assert held(world) == ["fs_reclaim"]


def test_scopes_belong_to_one_task(world: World) -> None:
    world.lockdep.memalloc_nofs_save()
    with world.task("other"):
        world.lockdep.fs_reclaim_acquire(gfp.GFP_KERNEL)
        assert held(world) == ["fs_reclaim"]


def test_scopes_are_restored_in_reverse_order(world: World) -> None:
    nofs = world.lockdep.memalloc_nofs_save()
    noio = world.lockdep.memalloc_noio_save()
    with pytest.raises(LockdepError, match="reverse order"):
        world.lockdep.memalloc_nofs_restore(nofs)
    world.lockdep.memalloc_noio_restore(noio)
    world.lockdep.memalloc_nofs_restore(nofs)
    with pytest.raises(LockdepError, match="reverse order"):
        world.lockdep.memalloc_nofs_restore(nofs)


def test_lock_held_across_allocation_and_taken_in_reclaim_is_a_cycle(world: World) -> None:
    lock = world.lock("i_mmap_rwsem", WaitType.SLEEP)
    with world.held(lock):
        world.lockdep.might_alloc(gfp.GFP_KERNEL)
    assert world.kinds == []
    world.lockdep.fs_reclaim_acquire(gfp.GFP_KERNEL)
    world.take(lock)
    report = world.only
    assert isinstance(report, CircularReport)
    assert (report.owned.name, report.wanted.name) == ("fs_reclaim", "i_mmap_rwsem")


def test_nofs_allocation_under_the_lock_is_fine(world: World) -> None:
    lock = world.lock("i_mmap_rwsem", WaitType.SLEEP)
    with world.held(lock):
        world.lockdep.might_alloc(gfp.GFP_NOFS)
    world.lockdep.fs_reclaim_acquire(gfp.GFP_KERNEL)
    world.take(lock)
    assert world.kinds == []


def test_even_nofs_allocations_may_call_mmu_notifiers(world: World) -> None:
    lock = world.lock("notifier_lock", WaitType.SLEEP)
    world.take(world.lockdep.maps.mmu_notifier, lock)
    with world.held(lock):
        world.lockdep.might_alloc(gfp.GFP_NOFS)
    assert world.kinds == [ReportKind.CIRCULAR]


def test_an_atomic_allocation_under_a_spinlock_is_fine_a_blocking_one_is_not(world: World) -> None:
    with world.held(world.lock("spin", WaitType.CONFIG)):
        world.lockdep.might_alloc(gfp.GFP_ATOMIC)
        assert world.kinds == []
        world.lockdep.might_alloc(gfp.GFP_KERNEL)
    assert world.kinds == [ReportKind.SLEEP_IN_ATOMIC]


def test_sleeping_is_fine_in_task_context_under_sleeping_locks(world: World) -> None:
    world.lockdep.might_sleep()
    with world.held(world.lock("mutex", WaitType.SLEEP), world.lock("map")):
        world.lockdep.might_sleep()
    assert world.kinds == []


@pytest.mark.parametrize("wait", [WaitType.SPIN, WaitType.CONFIG])
def test_sleeping_under_a_spinning_lock(world: World, wait: WaitType) -> None:
    with world.held(world.lock("spin", wait)), world.held(world.lock("annotation")):
        world.lockdep.might_sleep()
    report = world.only
    assert isinstance(report, SleepReport)
    assert (report.in_atomic, report.irqs_disabled, report.preempt_count) == (True, False, 1)
    assert report.headline.startswith(
        "BUG: sleeping function called from invalid context at engine/test_recl"
    )


@pytest.mark.parametrize(
    ("context", "count", "irqs_disabled"),
    [("irqs_off", 0, True), ("bh_off", 0x200, False), ("hardirq", 0x10000, True), ("softirq", 0x100, False)],
)
def test_sleeping_with_interrupts_off_or_in_a_handler(
    world: World, context: str, count: int, irqs_disabled: bool
) -> None:
    with getattr(world, context)():
        world.lockdep.might_sleep()
    report = world.only
    assert isinstance(report, SleepReport)
    assert (report.preempt_count, report.irqs_disabled) == (count, irqs_disabled)


def test_sleeping_with_preemption_off(world: World) -> None:
    world.ctx.preempt_count = 2
    world.lockdep.might_sleep()
    report = world.only
    assert isinstance(report, SleepReport)
    assert report.preempt_count == 2


def test_sleeping_in_an_rcu_reader(world: World) -> None:
    world.lockdep.rcu_read_lock()
    world.lockdep.might_sleep()
    report = world.only
    assert isinstance(report, SleepReport)
    assert (report.in_atomic, report.rcu_depth) == (False, 1)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (gfp.GFP_KERNEL, "GFP_KERNEL"),
        (gfp.GFP_KERNEL | gfp.GFP_ZERO | gfp.GFP_NOWARN, "GFP_KERNEL|__GFP_ZERO|__GFP_NOWARN"),
        (gfp.GFP_HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE"),
        (gfp.GFP_ATOMIC, "GFP_ATOMIC"),
        (gfp.GFP_NOFS | gfp.GFP_ACCOUNT, "GFP_NOFS|__GFP_ACCOUNT"),
        (gfp.GFP_NOIO, "GFP_NOIO"),
        (gfp.GFP_NOWAIT, "GFP_NOWAIT"),
        (gfp.GFP_KERNEL_ACCOUNT, "GFP_KERNEL_ACCOUNT"),
        (gfp.GFP_DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM"),
        (0, "none"),
        (1 << 30, "0x40000000"),
    ],
)
def test_gfp_names(flags: int, name: str) -> None:
    assert gfp.gfp_name(flags) == name


def test_blocking_means_direct_reclaim() -> None:
    assert gfp.gfpflags_allow_blocking(gfp.GFP_NOIO)
    assert not gfp.gfpflags_allow_blocking(gfp.GFP_ATOMIC)


def test_giving_up_the_cpu_needs_no_spinning_lock(world: World) -> None:
    world.lockdep.schedule()
    with world.irqs_off(), world.held(world.lock("mutex", WaitType.SLEEP)):
        world.lockdep.schedule()
    assert world.kinds == []
    with world.held(world.lock("spin", WaitType.CONFIG)):
        world.lockdep.schedule()
    assert world.only.headline == "BUG: scheduling while atomic: main/1/0x00000001"


def test_an_allocation_seen_before_is_not_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = world.lock("lock", WaitType.SLEEP)
    for flags in (gfp.GFP_KERNEL, gfp.GFP_NOFS):
        with world.held(lock):
            world.lockdep.might_alloc(flags)
    monkeypatch.setattr(type(world.lockdep), "fs_reclaim_acquire", None)
    for flags in (gfp.GFP_KERNEL, gfp.GFP_NOFS):
        with world.held(lock):
            world.lockdep.might_alloc(flags)
    assert held(world) == []
