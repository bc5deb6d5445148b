"""The checks at work: the observer that looks at the mm model at the moments of `stress.kit.check_table`."""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import Failure, RwSemaphore, Task
from sugarbush.concurrency.locks import UP_READ, UP_WRITE
from sugarbush.concurrency.lowlevel import Dep, Observer, Operation, Runtime, quiet
from sugarbush.concurrency.memory import FREE, FREE_REUSABLE, FREE_STEPPED
from sugarbush.stress.kit.check_table import (
    CHECK_TABLE,
    CHECKS,
    Check,
    Look,
    View,
    When,
)
from sugarbush.stress.kit.sight import MAPPED_BY, RANGE, RMAP_LOCKS, VMA, ModelSight, maps_nothing
from sugarbush.vm.checks import (
    EVERYTHING,
    LockOrder,
    Part,
    an_rmap_lock_is_free,
    leaf_entries,
    mapped,
)
from sugarbush.vm.files import I_MMAP_INSERT, I_MMAP_REMOVE
from sugarbush.vm.frames import FREE_FRAME, PMD_SET, PTE_SET
from sugarbush.vm.huge import PMD_CLEAR, PTS_ADD
from sugarbush.vm.objects import AnonVma, Folio, MmStruct, VmArea
from sugarbush.vm.reclaim import SWITCH
from sugarbush.vm.reverse import CHAIN_ADD, RB_INSERT, RB_REMOVE
from sugarbush.vm.vmas import Machine

__all__ = [
    "CHECKS",
    "CHECK_TABLE",
    "Check",
    "Look",
    "ModelChecks",
    "View",
    "When",
    "model_observers",
]


_BRK_READ = MmStruct._fields["brk"].ops["read"]


_TABLE_ABOUT, _UPPER_ABOUT, _FOLIO_ABOUT, _TREE_ABOUT, _VMA_ABOUT, _LOCK_ABOUT = (
    "table",
    "mm",
    "folio",
    "tree",
    "vma",
    "lock",
)
_LINKING = frozenset({CHAIN_ADD, *(VmArea._fields["anon_vma"].ops[how] for how in ("write", "write_once"))})
# Not those that only take an entry away, or change its bits: nothing comes out of reach by that.
_ABOUT: dict[Operation, str] = {
    PTE_SET: _TABLE_ABOUT,
    **dict.fromkeys((PMD_SET, PMD_CLEAR), _UPPER_ABOUT),
    **dict.fromkeys((*MAPPED_BY, SWITCH), _FOLIO_ABOUT),
    **dict.fromkeys((RB_INSERT, RB_REMOVE, I_MMAP_INSERT, I_MMAP_REMOVE), _TREE_ABOUT),
    **dict.fromkeys(VMA, _VMA_ABOUT),
}
"""What may be out of reach after an operation: entries of a page-table page, of an address space, of a page, of an rmap
tree, or those that a VMA maps."""


class ModelChecks(Observer):
    """Looks at the invariants of the model, each as soon as it must hold again.

    Between the announcement of an operation and whatever ran before it lies nothing, so that is when the state is
    looked at. After an operation those instances of an invariant are looked at that it may have changed (those of one
    page-table page, of one rmap tree, of one VMA): an instance that does not hold in some state has not held since the
    last operation that changed what it reads. So what is looked at depends on what the operation could be ordered
    against, and on nothing that another task does elsewhere; `stress.kit.sight` says so to searches that reduce.
    """

    def __init__(self) -> None:
        self.sight = ModelSight(self)
        self._runtime: Runtime | None = None
        self._reached: list[tuple[str, Any]] = []
        """What the operation that was done last may have put out of reach of its rmap tree."""
        self._unlocked = False
        self._reads_brk: MmStruct | None = None
        self.written = False
        """Somebody has written under an mmap_lock, and not all of these locks have been free since."""
        self._view = View()
        self._looks: dict[When, list[Check]] = {}
        """The checks that are on, by their moment."""
        self._keeps_heaps = False

    def is_named(self, page: Folio) -> bool:
        """Whether an entry names the page, so that looks read what it is mapped by; one of a large folio counts so."""
        if page.order or page.head is not page:
            return True
        with quiet():
            return any(pte.pfn == page.pfn for mm in self._machine().mms for _, pte in leaf_entries(mm))

    def begin(self, runtime: Runtime) -> None:
        """An execution begins: nothing has changed yet, and the checks of ``--without`` are left out."""
        self._runtime = runtime
        self._reached.clear()
        self._unlocked = self.written = False
        self._reads_brk = None
        self._view = View()
        on = [check for check in CHECK_TABLE if check.name not in runtime.without]
        # Sorted by moment once for an execution: the looks after an operation are the hot path of the mm model.
        self._looks = {when: [check for check in on if check.when is when] for when in When}
        self._keeps_heaps = "brk" not in runtime.without

    def hears_of(self, event: str, op: Operation) -> bool:
        """What may put something out of reach; `accessed` and `performed` say of what."""
        if event == "accessed":
            return op in _ABOUT or op in _LINKING or op in (_BRK_READ, FREE, FREE_STEPPED)
        if op.dep is not None:
            return op.dep in (Dep.RELEASE, Dep.DOWNGRADE)
        return op in _ABOUT or op in (FREE_FRAME, PTS_ADD, FREE_REUSABLE)

    def accessed(self, task: Task, op: Operation, obj: Any) -> None:
        """Keeps in mind what an access to a shared field may have put out of reach."""
        about = _ABOUT.get(op)
        if about is not None:
            self._reached.append((about, obj))
            if op in RANGE:
                self._view.adjusted[obj] = None
        if op in _LINKING:
            self._view.linked.add(obj.vm_mm)
        elif op is _BRK_READ:
            if obj.mmap_lock.exclusive is task and self._keeps_heaps and obj not in self._view.heaps:
                self._reads_brk = obj
        elif (op is FREE or op is FREE_STEPPED) and isinstance(obj, VmArea):
            self._view.adjusted.pop(obj, None)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Keeps in mind what an operation may have put out of reach; what is freed is looked at at once."""
        dep = op.dep
        if dep is None:
            if op is FREE_FRAME:
                self._view.mms, self._view.frame = self._machine().mms, arg
                with quiet():
                    self._look(When.FREED)
            elif op is FREE_REUSABLE:
                self._view.adjusted.pop(arg, None)
            elif op in _ABOUT and not (op is PMD_SET and maps_nothing(arg[1])):
                # What maps nothing cannot be out of reach.
                self._reached.append((_ABOUT[op], arg if op is SWITCH else obj))
            self._view.sharing |= op is PTS_ADD
            return
        if obj.name in RMAP_LOCKS:
            if dep is Dep.RELEASE:
                self._reached.append((_LOCK_ABOUT, obj))
        elif obj.name == "mm->mmap_lock" and (op is UP_WRITE or op is UP_READ or dep is Dep.DOWNGRADE):
            self.written |= op is not UP_READ
            self._unlocked = self.written

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """The next operation is about to be done: the state is whole, so this is when it is looked at."""
        if self._reached:
            with quiet():
                for about, what in self._reached:
                    self._look_at_rmap(about, what)
            self._reached.clear()
        if self._unlocked:
            self._unlocked = False
            self._look_at_vmas()
        if self._reads_brk is not None:
            with quiet():
                mm, self._reads_brk = self._reads_brk, None
                self._view.heaps[mm] = mm.brk, mapped(mm)

    def finished(self) -> None:
        """All tasks have ended: what is left over now is a leak."""
        self._view.memory = self._machine().memory
        self._look(When.END)

    def _look(self, when: When) -> None:
        view = self._view
        for check in self._looks[when]:
            assert check.look is not None
            wrong = check.look(view)
            if wrong:
                raise Failure(check.kind, f"{check.name}: {wrong}", check=check.name)

    def _machine(self) -> Machine:
        assert self._runtime is not None
        return self._runtime.domain(Machine)

    def _look_at_rmap(self, about: str, what: Any) -> None:
        """Look at the instances of I1, I3 and I6 that a change of `what` may have made false."""
        machine = self._machine()
        mms = machine.mms
        lock: RwSemaphore | None = None
        vma: VmArea | None = None
        part = EVERYTHING
        if about is _LOCK_ABOUT:
            if not what.unheld:
                return
            lock, part = what, Part(lock=what)
        elif about is _TREE_ABOUT:
            lock = what.root.rwsem if isinstance(what, AnonVma) else what.i_mmap_rwsem
            part = Part(lock=lock)
            if not lock.unheld:
                return
        elif about is _TABLE_ABOUT:
            part = Part(table=what)
        elif about is _FOLIO_ABOUT:
            part = Part(folio=what)
        elif about is _VMA_ABOUT:
            # A VMA that stands in no tree that anybody could walk now has nothing that could be wrong.
            if not an_rmap_lock_is_free(what):
                return
            vma, mms = what, [what.vm_mm]
        else:
            mms = [what]
        view = self._view
        view.mms, view.memory, view.part, view.lock, view.vma = mms, machine.memory, part, lock, vma
        self._look(When.REACH)

    def _look_at_vmas(self) -> None:
        """After mmap_lock was written under; where nobody holds it any more, what is mapped must fit the VMAs."""
        machine, view = self._machine(), self._view
        with quiet():
            mms = view.mms = machine.mms
            view.memory = machine.memory
            # Up to v6.0 a stack grows under mmap_lock for reading, and page_table_lock.
            view.settled = [mm for mm in mms if mm.mmap_lock.exclusive is None and mm.page_table_lock.unheld]
            self._look(When.SETTLED)
            view.linked.difference_update(view.settled)
            if all(mm.mmap_lock.unheld for mm in mms):
                self.written = False
                self._look(When.UNHELD)


def model_observers() -> tuple[Observer, ...]:
    """The observers of every scenario on the mm model."""
    return (LockOrder(), ModelChecks())
