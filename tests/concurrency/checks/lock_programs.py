"""Random programs that do everything with locks that the lock validator hears of, many of it wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Any

from sugarbush.concurrency import (
    Mutex,
    Plain,
    RwLock,
    RwSemaphore,
    Shared,
    Spinlock,
    SrcuStruct,
    fs_reclaim,
    hardirq,
    join,
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    softirq,
    spawn,
    srcu_read_lock,
    srcu_read_unlock,
)
from sugarbush.concurrency.lowlevel import active
from sugarbush.lockdep import LockClassKey
from sugarbush.lockdep.model import GFP_KERNEL, GFP_NOWAIT

Step = tuple[Any, ...]
OUTLIVING = Mutex("outliving").dep_map
"""What the validator knows a lock by, one for all executions. (The lock itself would stay locked after a failure.)"""


class Cell(Shared):
    """What a program may decide by, so that its executions differ in what they show."""

    n: Plain[int] = 0


class World:
    """The locks of one execution."""

    def __init__(self, shape: int) -> None:
        self.mutexes = [Mutex("a"), Mutex("b"), Mutex("c"), Mutex("outliving")]
        self.mutexes[3].dep_map = OUTLIVING
        if shape & 1:
            # Two of one class: what the one guards the other does not.
            self.mutexes.append(Mutex("a"))
        # Two kinds of lock of one class: the class is as the first one is, which may be another in each execution.
        self.spins = [Spinlock("s"), Spinlock("a" if shape & 6 == 6 else "t")]
        self.rwsems = [RwSemaphore("r"), RwSemaphore("q")]
        self.rwlock = RwLock("w")
        self.srcu = SrcuStruct("srcu")
        self.gate = Mutex("gate")
        if shape & 8:
            self.mutexes[2] = Mutex("c", key=LockClassKey("c"))
        self.seen = Mutex("seen")
        self.cell = Cell()


def draw(seed: int) -> Callable[[], None]:
    """The program of a seed."""
    random = Random(seed)
    tame = random.random()
    if tame < 0.5:
        steps = [[_ordered(random) for _ in range(random.randrange(1, 4))] for _ in range(2)]
    else:
        steps = [[_step(random, 2, tame < 0.7) for _ in range(random.randrange(2, 5))] for _ in range(2)]
    shape = random.randrange(16)

    def program() -> None:
        world = World(shape)
        tasks = [spawn(_run, world, body, name=f"t{number}") for number, body in enumerate(steps)]
        join(*tasks)

    return program


_TAKES = ("mutex", "mutex", "mutex", "rwsem", "rwsem", "try", "rwlock", "spin", "srcu")
_WRAPS = ("irq", "bh", "hardirq", "softirq", "gate")
_OTHERS = ("alloc", "reclaim", "crossed", "nested", "nest lock", "downgrade", "leak", "unheld", "sometimes")


def _ordered(random: Random) -> Step:
    """Two or three mutexes one inside the other, mostly in one order; the other order under a gate, or once only."""
    order = [("try" if random.random() < 0.2 else "mutex", which) for which in range(random.randrange(2, 4))]
    turned = random.random()
    if turned < 0.4:
        order.reverse()
    made: list[Step] = []
    for what, which in reversed(order):
        made = [(what, which, made)]
    if turned < 0.2 or 0.6 < turned < 0.7:
        made = [("sometimes", 0, made)]
    elif turned < 0.35 or turned > 0.8:
        made = [("gate", 0, made)]
    return made[0]


def _step(random: Random, depth: int, tame: bool) -> Step:
    body = [_step(random, depth - 1, tame) for _ in range(random.randrange(1, 3))] if depth else []
    draw = random.random()
    if draw < 0.6 or not depth:
        return (random.choice(_TAKES[:5] if tame else _TAKES), random.randrange(8), body)
    if draw < 0.78:
        return (random.choice(_WRAPS), random.randrange(8), body)
    return (random.choice(_OTHERS[:6] if tame else _OTHERS), random.randrange(8), body)


def _run(world: World, body: list[Step]) -> None:
    for step in body:
        _make(world, step)


def _make(world: World, step: Step) -> None:
    what, which, body = step
    with ExitStack() as stack:
        if what == "mutex":
            stack.enter_context(world.mutexes[which % len(world.mutexes)])
        elif what == "gate":
            stack.enter_context(world.gate)
        elif what == "spin":
            stack.enter_context(world.spins[which % 2])
        elif what in _SIMPLE:
            enter, leave = _SIMPLE[what]
            enter()
            stack.callback(leave)
        elif what == "hardirq":
            stack.enter_context(hardirq())
        elif what == "softirq":
            stack.enter_context(softirq())
        elif what == "sometimes":
            # What the one execution shows and the other does not.
            with world.seen:
                world.cell.n += 1
                first = world.cell.n == 1
            if not first:
                return
        elif what == "unheld":
            world.mutexes[0].unlock()
        else:
            _take(world, what, which, stack)
        _run(world, body)


_SIMPLE = {"irq": (local_irq_disable, local_irq_enable), "bh": (local_bh_disable, local_bh_enable)}


def _take(world: World, what: str, which: int, stack: ExitStack) -> None:
    mutexes, rwsem = world.mutexes, world.rwsems[which & 1]
    if what == "rwsem":
        if which & 2:
            rwsem.down_read()
            stack.callback(rwsem.up_read)
        else:
            rwsem.down_write()
            stack.callback(rwsem.up_write)
    elif what == "rwlock":
        stack.enter_context(world.rwlock.read() if which & 1 else world.rwlock.write())
    elif what == "try":
        mutex = mutexes[which % 3]
        if mutex.trylock():
            stack.callback(mutex.unlock)
    elif what == "srcu":
        index = srcu_read_lock(world.srcu)
        stack.callback(srcu_read_unlock, world.srcu, index)
    elif what == "alloc":
        rt = active.runtime
        assert rt is not None
        rt.might_alloc(GFP_KERNEL if which & 1 else GFP_NOWAIT)
    elif what == "reclaim":
        stack.enter_context(fs_reclaim())
    elif what == "crossed":
        # Given back in the order in which they were taken.
        one, two = mutexes[which % 3], mutexes[(which + 1) % 3]
        one.lock()
        two.lock()
        one.unlock()
        stack.callback(two.unlock)
    elif what == "nested":
        inner = Mutex("b")
        mutexes[1].lock()
        inner.lock(subclass=1 + (which & 1))
        stack.callback(inner.unlock)
        stack.callback(mutexes[1].unlock)
    elif what == "nest lock":
        with world.gate:
            inner = Mutex("b")
            mutexes[1].lock(nest_lock=world.gate)
            inner.lock(nest_lock=world.gate if which & 1 else world.seen)
            inner.unlock()
            mutexes[1].unlock()
    elif what == "downgrade":
        rwsem.down_write()
        if which & 4:
            mutexes[which % 3].lock()
            stack.callback(mutexes[which % 3].unlock)
        rwsem.downgrade_write()
        stack.callback(rwsem.up_read)
    elif what == "leak":
        mutexes[which % 3].lock()
