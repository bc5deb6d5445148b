"""A painter's workshop in which every kind of report happens once. Golden files hold the texts: lines count."""

from __future__ import annotations

from collections.abc import Callable

from lockdep_world import World

from sugarbush.lockdep import LockMap, WaitType
from sugarbush.lockdep.engine.waiting import wait_map
from sugarbush.lockdep.engine.ww import WwClass, WwTicket
from sugarbush.lockdep.model import gfp

SCENARIOS: dict[str, Callable[[World], None]] = {}


def scenario(body: Callable[[World], None]) -> Callable[[World], None]:
    SCENARIOS[body.__name__] = body
    return body


def mutexes(world: World, names: str) -> list[LockMap]:
    return world.locks(names, WaitType.SLEEP)


def spinlocks(world: World, names: str) -> list[LockMap]:
    return world.locks(names, WaitType.CONFIG)


@scenario
def circular(world: World) -> None:
    brush, easel = mutexes(world, "brush_lock easel_lock")
    world.lockdep.acquire(brush)
    world.lockdep.acquire(easel)
    world.lockdep.release(easel)
    world.lockdep.release(brush)
    world.lockdep.acquire(easel)
    world.lockdep.acquire(brush)


@scenario
def circular_through_others(world: World) -> None:
    brush, easel, palette = mutexes(world, "brush_lock easel_lock palette_lock")
    world.take(brush, easel)
    with world.held(easel):
        world.lockdep.acquire(palette, read=1)
    world.lockdep.release(palette)
    with world.held(palette, read=1):
        world.lockdep.acquire(brush, read=1)


@scenario
def circular_by_sync(world: World) -> None:
    (brush,) = mutexes(world, "brush_lock")
    readers = wait_map("paint_srcu")
    with world.held(readers, read=2):
        world.take(brush)
    with world.held(brush):
        world.lockdep.wait_for_readers(readers)


@scenario
def guarded_circular(world: World) -> None:
    door, brush, easel = mutexes(world, "door brush_lock easel_lock")
    world.take(door, brush, easel)
    world.take(door, easel, brush)


@scenario
def recursive(world: World) -> None:
    first, second = mutexes(world, "&tin->lid") + mutexes(world, "&tin->lid")
    world.lockdep.acquire(first)
    world.lockdep.acquire(second, read=1)


@scenario
def recursive_by_order(world: World) -> None:
    first = world.lock("&tin->lid", WaitType.SLEEP, order=lambda held, wanted: 1)
    second = world.lock("&tin->lid", WaitType.SLEEP)
    world.lockdep.acquire(first)
    world.lockdep.acquire(second)


@scenario
def irq_order(world: World) -> None:
    rx_ring, tx_ring, slow_list = spinlocks(world, "rx_ring tx_ring slow_list")
    with world.hardirq():
        world.take(rx_ring)
    world.take(slow_list)
    with world.irqs_off():
        world.take(rx_ring, tx_ring)
        world.take(tx_ring, slow_list)


@scenario
def inconsistent(world: World) -> None:
    (rx_ring,) = spinlocks(world, "rx_ring")
    world.take(rx_ring)
    with world.irqs_off(), world.hardirq():
        world.take(rx_ring)


@scenario
def inconsistent_nmi(world: World) -> None:
    rx_ring = world.lock("rx_ring", WaitType.SPIN)
    world.take(rx_ring)
    with world.nmi():
        world.take(rx_ring)


@scenario
def inversion_forwards(world: World) -> None:
    rx_ring, slow_list = spinlocks(world, "rx_ring slow_list")
    with world.bh_off():
        world.take(rx_ring, slow_list)
    world.take(slow_list)
    with world.softirq():
        world.take(rx_ring)


@scenario
def inversion_backwards(world: World) -> None:
    rx_ring, tx_ring, slow_list = spinlocks(world, "rx_ring tx_ring slow_list")
    with world.irqs_off():
        world.take(rx_ring, tx_ring, slow_list)
        with world.hardirq():
            world.take(rx_ring)
    world.take(slow_list)


@scenario
def wait_context(world: World) -> None:
    (pigment,), (brush,) = spinlocks(world, "pigment"), mutexes(world, "brush_lock")
    with world.held(pigment):
        world.take(brush)


@scenario
def rcu(world: World) -> None:
    (brush,) = mutexes(world, "brush_lock")
    with world.held(brush):
        world.lockdep.rcu_dereference_check()


@scenario
def bad_unlock(world: World) -> None:
    brush, easel = mutexes(world, "brush_lock easel_lock")
    with world.held(easel):
        world.lockdep.release(brush)


@scenario
def bad_contention(world: World) -> None:
    (brush,) = mutexes(world, "brush_lock")
    world.lockdep.lock_contended(brush)


@scenario
def held_freed(world: World) -> None:
    brush, easel = mutexes(world, "brush_lock easel_lock")
    with world.held(easel, brush):
        world.lockdep.free_check([brush])


@scenario
def return_to_user(world: World) -> None:
    (brush,) = mutexes(world, "brush_lock")
    world.lockdep.acquire(brush)
    world.lockdep.return_to_user()


@scenario
def task_exit(world: World) -> None:
    (brush,) = mutexes(world, "brush_lock")
    world.lockdep.acquire(brush)
    world.lockdep.task_exit(world.ctx)


@scenario
def nest_lock(world: World) -> None:
    wall, tile = mutexes(world, "wall tile")
    world.lockdep.acquire(tile, nest_lock=wall)


@scenario
def assert_held(world: World) -> None:
    brush, easel = mutexes(world, "brush_lock easel_lock")
    with world.held(easel):
        world.lockdep.assert_held_write(brush)


@scenario
def pinned(world: World) -> None:
    (brush,) = mutexes(world, "brush_lock")
    world.lockdep.acquire(brush)
    world.lockdep.pin(brush)
    world.lockdep.release(brush)


@scenario
def sleep_in_atomic(world: World) -> None:
    (pigment,) = spinlocks(world, "pigment")
    with world.held(pigment):
        world.lockdep.might_alloc(gfp.GFP_NOFS)


@scenario
def schedule_in_atomic(world: World) -> None:
    (pigment,) = spinlocks(world, "pigment")
    with world.bh_off(), world.held(pigment):
        world.lockdep.schedule()


@scenario
def rcu_while_idle(world: World) -> None:
    world.lockdep.rcu_idle_enter()
    world.lockdep.rcu_read_lock()


@scenario
def bad_key(world: World) -> None:
    world.lockdep.acquire(LockMap("no key", "brush_lock"))  # type: ignore[arg-type]


@scenario
def bad_subclass(world: World) -> None:
    (brush,) = mutexes(world, "brush_lock")
    world.lockdep.acquire(brush, subclass=99)


@scenario
def worker_leak(world: World) -> None:
    (brush,) = mutexes(world, "brush_lock")
    with world.lockdep.running_work("dry_paint", wait_map("(work_completion)(&drying)")):
        world.lockdep.acquire(brush)


@scenario
def ww_misuse(world: World) -> None:
    ticket = WwTicket(WwClass("paint_ww"))
    world.lockdep.ww_acquire_init(ticket)
    world.lockdep.ww_acquire_done(ticket)
    world.lockdep.ww_acquire_done(ticket)
