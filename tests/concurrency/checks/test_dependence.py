"""The dependence relation: what it says of each kind of operation, and that independent operations do commute."""

from __future__ import annotations

import dis
import gc
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import walk_packages
from random import Random
from typing import Any

import pytest
from concurrency_programs import Cell

from sugarbush import concurrency
from sugarbush.concurrency import Mutex, RwSemaphore, Spinlock, Task
from sugarbush.concurrency.checks.dependence import Dependence
from sugarbush.concurrency.core import Footprint
from sugarbush.concurrency.core.execution import START
from sugarbush.concurrency.core.runtime import JOIN
from sugarbush.concurrency.cpu.irq import LOCAL_BH_ENABLE, LOCAL_IRQ_DISABLE
from sugarbush.concurrency.cpu.preempt import PREEMPT_DISABLE
from sugarbush.concurrency.locks.rwsem import (
    DOWN_READ,
    DOWN_READ_SLOW,
    DOWN_READ_TRYLOCK,
    DOWN_WRITE,
    DOWN_WRITE_SLOW,
    DOWN_WRITE_TRYLOCK,
    DOWNGRADE_WRITE,
    UP_READ,
    UP_WRITE,
)
from sugarbush.concurrency.lowlevel import Access, Observer, Operation, Order, RandomWalk, Simulated
from sugarbush.concurrency.memory.slab import (
    ALLOC,
    ALLOC_REUSABLE,
    FREE,
    FREE_REUSABLE,
    FREE_STEPPED,
    KmemCache,
)
from sugarbush.concurrency.rcu import (
    RCU_CALLBACKS,
    RCU_READ_LOCK,
    RCU_READ_LOCK_NESTED,
    RCU_READ_UNLOCK,
    RCU_READ_UNLOCK_NESTED,
    RCU_WAITS,
    SRCU_WAITS,
    RcuDomain,
)
from sugarbush.lockdep.model.gfp import GFP_KERNEL
from sugarbush.tree.core.operations import (
    LOAD_PARENT,
    LOAD_PIVOTS,
    LOAD_ROOT,
    LOAD_SLOT,
    MARK_DEAD,
    RESTART,
    STORE_SLOT,
)
from sugarbush.vm.access.user import USER_LOAD, USER_STORE
from sugarbush.vm.frames.page_alloc import ALLOC_FRAME, FREE_FRAME
from sugarbush.vm.frames.pgtable import PMD_GET, PTE_GET, PTE_SET
from sugarbush.vm.spaces.mm import ADD_MM_COUNTER

RELATION = Dependence()
SYNCHRONIZE_RCU, SYNCHRONIZE_RCU_WAIT = RCU_WAITS.begin, RCU_WAITS.wait
POLL, START_POLL = RCU_WAITS.poll, RCU_WAITS.start
CALL_RCU = RCU_CALLBACKS.call
FIELDS = Cell._fields
READ, WRITE = FIELDS["once"].ops["read"], FIELDS["once"].ops["write"]
OTHER_WRITE = FIELDS["plain"].ops["write"]
FOLLOW = FIELDS["pointer"].ops["read"]
MODIFY = FIELDS["count"].modify[Order.FULL]
SET_COUNT = FIELDS["count"].ops["write"]
TREE_SLOT = Operation("a step of somebody's own", Access.WRITE_ONCE, field="slots")


def depend(one: Operation | None, other: Operation | None, *, same: bool = True) -> bool:
    obj = Cell()
    on = obj if same else Cell()
    answer = RELATION.dependent(one, obj, other, on)
    assert RELATION.dependent(other, on, one, obj) == answer, "the relation is symmetric"
    return answer


def nothing() -> None:
    """What a task runs that is never started."""


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (READ, READ, False),
        (READ, WRITE, True),
        (WRITE, WRITE, True),
        (WRITE, OTHER_WRITE, False),
        (FOLLOW, FOLLOW, False),
        (MODIFY, MODIFY, True),
        (MODIFY, SET_COUNT, True),
        (MODIFY, WRITE, False),
        (FREE, READ, True),
        (None, WRITE, False),
        (None, FREE, False),
    ],
)
def test_accesses_of_one_object(one: Operation | None, other: Operation | None, expected: bool) -> None:
    assert depend(one, other) is expected


@pytest.mark.parametrize("one", [READ, WRITE, MODIFY])
@pytest.mark.parametrize("other", [READ, WRITE, MODIFY])
def test_accesses_of_two_objects_are_independent(one: Operation, other: Operation) -> None:
    assert not depend(one, other, same=False)


@pytest.mark.parametrize("op", [USER_LOAD, USER_STORE, ALLOC_FRAME, FREE_FRAME, TREE_SLOT])
def test_what_is_not_known_to_stay_in_its_place_reaches_anything(op: Operation) -> None:
    assert RELATION.footprint(op, Cell()) is Footprint.ANYTHING
    for other in (READ, Mutex._lock, RCU_READ_LOCK, op):
        assert depend(op, other, same=False)


def test_an_operation_can_be_declared_local() -> None:
    def effect(_obj: Any, _task: Any, _arg: Any) -> None:
        """Does nothing."""

    assert depend(Operation("wide", effect=effect), READ, same=False)
    narrow = Operation("narrow", Access.WRITE, effect=effect, local=True)
    assert not depend(narrow, READ, same=False)
    assert depend(narrow, READ)
    looks = Operation("looks", Access.READ, effect=effect, local=True)
    assert not depend(looks, looks)
    assert depend(looks, narrow)


def test_a_whole_object_overlaps_each_of_its_fields() -> None:
    whole = Operation("whole", Access.WRITE, local=True)
    assert depend(whole, READ)
    assert depend(whole, OTHER_WRITE)
    assert not depend(whole, READ, same=False)


def test_an_operation_that_only_carries_the_name_of_a_field_is_not_that_field() -> None:
    foreign = Operation("foreign", Access.WRITE, field="once")
    assert RELATION.footprint(foreign, Cell()) is Footprint.ANYTHING


@pytest.mark.parametrize("lock", [Mutex, Spinlock])
def test_everything_on_one_lock_depends(lock: type) -> None:
    operations = (lock._lock, lock._trylock, lock._unlock)
    for one in operations:
        for other in operations:
            assert depend(one, other)
            assert not depend(one, other, same=False)


def test_a_join_is_ordered_by_the_end_of_the_task() -> None:
    assert not depend(JOIN, JOIN)
    assert not depend(JOIN, WRITE)
    # What the task does after it, up to its next operation, may touch what the other one frees.
    assert depend(JOIN, FREE)
    assert depend(START, FREE)
    assert not depend(START, WRITE)


@pytest.mark.parametrize("op", [ALLOC, ALLOC_REUSABLE])
def test_allocations_of_different_caches_commute_unless_they_may_fail(op: Operation) -> None:
    one, two = KmemCache("one", Cell), KmemCache("two", Cell)
    assert not RELATION.dependent(op, one, op, two)
    assert RELATION.dependent(op, one, op, one) == (op is ALLOC_REUSABLE)
    assert Dependence(faults=True).dependent(op, one, op, two)


def test_freeing_depends_on_everything_unless_the_cache_says_more() -> None:
    assert depend(FREE, READ, same=False)
    assert not depend(FREE_STEPPED, READ, same=False)
    assert depend(FREE_STEPPED, READ)
    assert depend(FREE_STEPPED, FREE_STEPPED)
    freed = []

    class Freed(Observer):
        def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
            freed.append(op)

    def program() -> None:
        for options in ({}, {"stepped": True}, {"stepped": True, "typesafe_by_rcu": True}):
            cache = KmemCache("cell", Cell, **options)
            cache.free(cache.alloc(GFP_KERNEL))

    Simulated(RandomWalk(1), (Freed(),)).run(program)
    assert freed[:3] == [FREE, FREE_STEPPED, FREE_REUSABLE]


def test_freeing_what_may_be_reused_at_once_depends_on_what_is_done_to_its_cache() -> None:
    cache, other = KmemCache("cell", Cell, typesafe_by_rcu=True), object()
    assert RELATION.dependent(FREE_REUSABLE, cache, ALLOC_REUSABLE, cache)
    assert RELATION.dependent(FREE_REUSABLE, cache, FREE_REUSABLE, cache)
    assert not RELATION.dependent(FREE_REUSABLE, cache, READ, other)


def test_the_steps_of_the_tree_stay_in_their_nodes() -> None:
    for one in (LOAD_SLOT, LOAD_PIVOTS, LOAD_PARENT):
        assert not depend(one, LOAD_SLOT)
        for other in (STORE_SLOT, MARK_DEAD, FREE_STEPPED):
            assert depend(one, other)
            assert not depend(one, other, same=False)
    assert not depend(LOAD_ROOT, STORE_SLOT, same=False)
    assert depend(RESTART, STORE_SLOT, same=False)


def test_the_cheap_steps_of_the_model_stay_in_their_place() -> None:
    assert not depend(PTE_GET, PTE_GET)
    assert depend(PTE_GET, PTE_SET)
    assert not depend(PTE_SET, PTE_SET, same=False)
    assert not depend(PMD_GET, ADD_MM_COUNTER)
    assert depend(PTE_SET, USER_LOAD, same=False)


def test_rcu() -> None:
    begin, wait = SYNCHRONIZE_RCU, SYNCHRONIZE_RCU_WAIT
    readers = (RCU_READ_LOCK, RCU_READ_UNLOCK)
    assert not any(depend(one, other) for one in readers for other in readers)
    assert not any(depend(one, other) for one in (begin, wait) for other in (begin, wait))
    assert depend(RCU_READ_LOCK, begin), "it is waited for, or not"
    assert not depend(RCU_READ_UNLOCK, begin), "either way it is not waited for"
    assert depend(RCU_READ_UNLOCK, wait)
    assert not depend(RCU_READ_LOCK, wait), "a reader that begins now is not waited for"
    assert depend(CALL_RCU, CALL_RCU)
    for one in (*readers, begin):
        assert depend(one, CALL_RCU)
        assert depend(one, START_POLL)
    assert depend(POLL, RCU_READ_UNLOCK)
    assert depend(POLL, begin)
    assert not depend(POLL, POLL)
    for nested in (RCU_READ_LOCK_NESTED, RCU_READ_UNLOCK_NESTED):
        assert not depend(nested, begin)


def test_grace_periods_see_where_preemption_goes_off() -> None:
    for region in (Spinlock._lock, Spinlock._unlock, LOCAL_IRQ_DISABLE, LOCAL_BH_ENABLE, PREEMPT_DISABLE):
        for grace in (SYNCHRONIZE_RCU, SYNCHRONIZE_RCU_WAIT, POLL, CALL_RCU):
            assert depend(region, grace, same=False)
        assert not depend(region, RCU_READ_LOCK, same=False)
        assert not depend(region, SRCU_WAITS.begin, same=False)
    assert not depend(Mutex._lock, SYNCHRONIZE_RCU, same=False)


def _stores(op: Operation) -> set[str]:
    """The attributes that the effect of an operation sets; a lock that counts 0 sets nothing."""
    if op.effect is not None and inspect.getclosurevars(op.effect).nonlocals.get("count") == 0:
        return set()
    code = getattr(op.effect, "__code__", None)
    return (
        set() if code is None else {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_ATTR"}
    )


def _module(op: Operation) -> str | None:
    return getattr(op.effect, "__module__", None)


def test_whatever_turns_preemption_off_or_on_says_so() -> None:
    """Grace periods of RCU wait for such stretches, so a search must see them."""
    for module in walk_packages(concurrency.__path__, "sugarbush.concurrency."):
        import_module(module.name)
    operations = [one for one in gc.get_objects() if isinstance(one, Operation)]
    # Those of other tests may have any callable for an effect, also one of no module.
    ours = [op for op in operations if f"{_module(op)}.".startswith("sugarbush.concurrency.")]
    switching = [op for op in ours if _stores(op) & {"preempt_count", "irqs_off"}]
    assert len(switching) >= 15
    assert [
        op for op in switching if not (op.region or op.grace or op.name.endswith(("_callback", "_done")))
    ] == []


# -- that it is true ----------------------------------------------------------------------------------------------


class Sem:
    """A rw_semaphore and its tasks, with what each may do next; the state is what any operation can see of it."""

    def __init__(self, tasks: int) -> None:
        self.tasks = [Task(n, f"t{n}", nothing) for n in range(tasks)]
        self.sem = RwSemaphore("s")
        self.next: dict[int, list[Operation]] = {
            n: [DOWN_READ, DOWN_WRITE, DOWN_READ_TRYLOCK, DOWN_WRITE_TRYLOCK] for n in range(tasks)
        }

    def enabled(self) -> Iterator[tuple[int, Operation]]:
        for n, operations in self.next.items():
            for op in operations:
                if op.ready is None or op.ready(self.sem, self.tasks[n]):
                    yield n, op

    def do(self, n: int, op: Operation) -> None:
        before = self.next[n]
        assert op.effect is not None
        got = op.effect(self.sem, self.tasks[n], None)
        idle = [DOWN_READ, DOWN_WRITE, DOWN_READ_TRYLOCK, DOWN_WRITE_TRYLOCK]
        after = {
            DOWN_READ: [UP_READ] if got else [DOWN_READ_SLOW],
            DOWN_READ_SLOW: [UP_READ],
            DOWN_READ_TRYLOCK: [UP_READ] if got else before,
            DOWN_WRITE: [UP_WRITE, DOWNGRADE_WRITE] if got else [DOWN_WRITE_SLOW],
            DOWN_WRITE_SLOW: [UP_WRITE, DOWNGRADE_WRITE],
            DOWN_WRITE_TRYLOCK: [UP_WRITE, DOWNGRADE_WRITE] if got else before,
            UP_READ: idle,
            UP_WRITE: idle,
            DOWNGRADE_WRITE: [UP_READ],
        }
        self.next[n] = after[op]

    def state(self) -> object:
        """Readers that wait next to each other are in no order, and neither are those that hold it."""
        queue: list[Any] = []
        for task, writes in self.sem._queue:
            if writes:
                queue.append(task.id)
            elif queue and isinstance(queue[-1], set):
                queue[-1].add(task.id)
            else:
                queue.append({task.id})
        writer = None if self.sem._writer is None else self.sem._writer.id
        readers = sorted(task.id for task in self.sem._readers)
        return (writer, readers, queue, self.next, sorted((n, op.name) for n, op in self.enabled()))


class Rcu:
    """An RCU domain and its tasks; of the numbers of grace periods only what they wait for counts."""

    def __init__(self, tasks: int) -> None:
        self.tasks = [Task(n, f"t{n}", nothing) for n in range(tasks)]
        self.rcu = RcuDomain()
        self.next = {n: [RCU_READ_LOCK, SYNCHRONIZE_RCU] for n in range(tasks)}

    def enabled(self) -> Iterator[tuple[int, Operation]]:
        for n, operations in self.next.items():
            for op in operations:
                if op.ready is None or op.ready(self.rcu, self.tasks[n]):
                    yield n, op

    def do(self, n: int, op: Operation) -> None:
        assert op.effect is not None
        op.effect(self.rcu, self.tasks[n], None)
        after = {
            RCU_READ_LOCK: [RCU_READ_LOCK_NESTED, RCU_READ_UNLOCK],
            RCU_READ_LOCK_NESTED: [RCU_READ_UNLOCK_NESTED],
            RCU_READ_UNLOCK_NESTED: [RCU_READ_LOCK_NESTED, RCU_READ_UNLOCK],
            RCU_READ_UNLOCK: [RCU_READ_LOCK, SYNCHRONIZE_RCU],
            SYNCHRONIZE_RCU: [SYNCHRONIZE_RCU_WAIT],
            SYNCHRONIZE_RCU_WAIT: [RCU_READ_LOCK, SYNCHRONIZE_RCU],
        }
        self.next[n] = after[op]

    def state(self) -> object:
        waits = {
            (task.id, reader.id): first <= number
            for task, number in self.rcu.waiting.items()
            for reader, first in self.rcu.holdouts.items()
        }
        readers = sorted(task.id for task in self.rcu.readers)
        return (self.rcu.begun, readers, waits, self.next, sorted((n, op.name) for n, op in self.enabled()))


Model = Sem | Rcu


def after(
    make: Callable[[int], Model], path: list[tuple[int, Operation]], *more: tuple[int, Operation]
) -> Model:
    model = make(4)
    for n, op in [*path, *more]:
        model.do(n, op)
    return model


@pytest.mark.parametrize("make", [Sem, Rcu])
def test_independent_operations_commute(make: Callable[[int], Model]) -> None:
    """From random states: each leaves the other ready, and both orders lead to one state."""
    random = Random(7)
    compared: set[tuple[str, str]] = set()
    for _ in range(150):
        path: list[tuple[int, Operation]] = []
        model = make(4)
        for _ in range(random.randint(0, 14)):
            moves = list(model.enabled())
            if not moves:
                break
            path.append(random.choice(moves))
            model.do(*path[-1])
        moves = list(model.enabled())
        obj = model.sem if isinstance(model, Sem) else model.rcu
        for one in moves:
            for two in moves:
                if one[0] >= two[0] or RELATION.dependent(one[1], obj, two[1], obj):
                    continue
                compared.add((one[1].name, two[1].name))
                assert two in list(after(make, path, one).enabled()), (path, one, two)
                assert one in list(after(make, path, two).enabled()), (path, one, two)
                assert after(make, path, one, two).state() == after(make, path, two, one).state(), (
                    path,
                    one,
                    two,
                )
    assert len(compared) >= 4


@pytest.mark.parametrize("make", [Sem, Rcu])
def test_independent_operations_make_nobody_ready_for_one_order_only(make: Callable[[int], Model]) -> None:
    """A trylock sees whether a reader has left the queue: those two depend, and the state that shows it is reached."""
    if make is Rcu:
        path = [(0, RCU_READ_LOCK), (1, SYNCHRONIZE_RCU)]
        assert (1, SYNCHRONIZE_RCU_WAIT) not in list(after(make, path).enabled())
        assert (1, SYNCHRONIZE_RCU_WAIT) in list(after(make, path, (0, RCU_READ_UNLOCK)).enabled())
        return
    path = [(0, DOWN_WRITE), (1, DOWN_READ), (0, UP_WRITE)]
    leaves, tries = (1, DOWN_READ_SLOW), (2, DOWN_READ_TRYLOCK)
    assert after(make, path, leaves, tries).state() != after(make, path, tries, leaves).state()
    assert RELATION.dependent(DOWN_READ_SLOW, RELATION, DOWN_READ_TRYLOCK, RELATION)
