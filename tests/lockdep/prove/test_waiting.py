"""Dependencies through waits: work items, completions (facts 1.14)."""

from __future__ import annotations

from lockdep_world import World

from sugarbush.lockdep import ReportKind
from sugarbush.lockdep.engine.waiting import wait_map


def test_flush_under_a_lock_that_the_work_takes_is_a_cycle(world: World) -> None:
    lock, work = world.lock("lock"), wait_map("(work_completion)(&work)")
    with world.task("kworker"), world.lockdep.running_work("work_fn", work):
        world.take(lock)
    with world.held(lock):
        world.lockdep.wait_for(work)
    assert world.kinds == [ReportKind.CIRCULAR]


def test_a_work_item_that_flushes_itself_is_recursion(world: World) -> None:
    queue, work = wait_map("(wq_completion)events"), wait_map("(work_completion)(&work)")
    with world.lockdep.running_work("work_fn", queue, work):
        world.lockdep.wait_for(work)
    assert world.kinds == [ReportKind.RECURSIVE]


def test_completion_waited_for_under_a_lock_of_the_completer(world: World) -> None:
    lock, done = world.lock("lock"), wait_map("(completion)&done")
    with world.task("completer"), world.held(done):
        world.take(lock)
    with world.held(lock):
        world.lockdep.wait_for(done)
    assert world.kinds == [ReportKind.CIRCULAR]


def test_a_work_item_that_leaves_a_lock_behind(world: World) -> None:
    lock = world.lock("lock")
    with world.lockdep.running_work("leaky_fn", wait_map("work")):
        world.lockdep.acquire(lock)
    assert world.only.headline == "BUG: workqueue leaked atomic, lock or RCU: main[1]"
    assert "lock=0->1 RCU=0->0 workfn=leaky_fn" in world.only.render()


def test_a_work_item_that_leaves_a_reader_or_preemption_off(world: World) -> None:
    with world.lockdep.running_work("fn", wait_map("work")):
        world.ctx.rcu_depth += 1
    with world.lockdep.running_work("fn", wait_map("work")):
        world.ctx.preempt_count += 1
    assert world.kinds == [ReportKind.WORKER_LEAK] * 2


def test_a_work_item_that_cleans_up_is_fine(world: World) -> None:
    with world.lockdep.running_work("fn", wait_map("work")):
        world.take(world.lock("lock"))
    assert world.kinds == []
