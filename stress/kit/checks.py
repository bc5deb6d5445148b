"""The invariants at work: when each is looked at, and the names that ``--without`` takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sugarbush.concurrency import Failure, Kind, RwSemaphore, Task
from sugarbush.concurrency.locks import UP_READ, UP_WRITE
from sugarbush.concurrency.lowlevel import Dep, Observer, Operation, Runtime, peek, quiet
from sugarbush.concurrency.memory import FREE, FREE_STEPPED
from sugarbush.stress.kit.sight import MAPPED_BY, RANGE, RMAP_LOCKS, VMA, ModelSight
from sugarbush.vm.checks import (
    EVERYTHING,
    LockOrder,
    Part,
    an_rmap_lock_is_free,
    anon_vma_chain,
    coverage,
    heap,
    huge_in_vma,
    interval_tree,
    mapcounts,
    mapped,
    rights,
    shared_in_vma,
    stale_translations,
    swap_counts,
    vma_index,
)
from sugarbush.vm.files import I_MMAP_INSERT, I_MMAP_REMOVE
from sugarbush.vm.frames import FREE_FRAME, PMD_SET, PTE_SET, is_huge_zero_frame, stale_mirrors
from sugarbush.vm.huge import PMD_CLEAR, PTS_ADD
from sugarbush.vm.objects import AnonVma, Folio, Memory, MmStruct, VmArea
from sugarbush.vm.reclaim import SWITCH
from sugarbush.vm.reverse import CHAIN_ADD, RB_INSERT, RB_REMOVE
from sugarbush.vm.vmas import Machine

CHECKS = {
    "coverage": "I1: every page-table entry is within reach of its rmap tree whenever the rmap lock is free",
    "interval-tree": "I3: the rmap trees have each VMA under the range of its fields, whenever their locks are free",
    "migration-entry-locked": "I2: a migration entry names a locked page",
    "migration-entry-owner": "I2: the locked page that a migration entry names is still the same one",
    "vma-index": "I4: the tree of VMAs agrees with the VMAs, whenever mmap_lock is free",
    "rights": "I5, I10: nothing is mapped outside of all VMAs or for more than they permit, whenever mmap_lock is free",
    "tlb": "I8: no CPU uses, or could use, a translation of a page that was freed",
    "secondary-mmu": "no device uses, or could use, a mapping of a page that was freed",
    "huge-in-vma": "I6: a huge page lies wholly inside one VMA",
    "shared-in-vma": "I6: a page-table page that is shared lies wholly inside one VMA of each who shares it",
    "bad-pmd": "what is taken for a page-table page is one",
    "pmd-none": "nobody fills the upper entry that khugepaged has emptied",
    "pmd-present": "an upper entry that is not present is taken for no page",
    "unmap-folio": "nothing maps a folio that is being split",
    "pinned-exclusive": "a page that is pinned for writing is exclusive to its process until it is unpinned",
    "swap-count": "I7: as many entries name a swap slot as it counts",
    "mapcount": "I7: each page is mapped as often as its mapcount says",
    "rss": "I7: no page is counted as resident in an address space that has ended",
    "private-data": "I11, I15: a process reads back what it wrote, and nothing where it gave a range up",
    "anon-vma-chain": "I13: VMAs of one anon_vma have the same links, and a page is in one that its VMA links to",
    "brk": "I14: mm->brk and the mapped heap have moved together, whenever no writer holds mmap_lock",
    "refcount": "no page is used or dropped without a reference",
    "page-tables": "no page-table page is freed with entries in it",
    "vma-refcount": "no VMA is freed or attached while somebody has a reference, and none is dropped twice (era 6.15)",
    "lock-order": "I12: locks are taken in the order of mm/rmap.c",
    "lockdep": "I12: the lock validator",
    "atomic-sleep": "nothing sleeps under a spinlock or in an RCU reader",
    "foreign": "no task uses a thread or lock of the operating system, which nobody explores",
    "data-race": "plain accesses are ordered by something",
    "rcu": "RCU pointers are read inside readers, and RCU is used by its rules",
    "rcu-stall": "no grace period waits for too long",
    "uninit": "nothing is read that its maker has not made known (weak memory)",
    "use-after-free": "I9: no freed object is touched",
    "double-free": "no object is freed twice",
    "leak": "nothing is left over at the end",
}
"""All checks that can be switched off, and what each says."""

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
        self._sharing = False
        """A page-table page has been shared in this execution."""
        self._adjusted: dict[VmArea, None] = {}
        """Those whose range was written, and that were not freed."""
        self._linked: set[MmStruct] = set()
        """Where a VMA got or lost an anon_vma, or a link to one, and nobody has looked since."""
        self._heaps: dict[MmStruct, tuple[int, list[tuple[int, int]]]] = {}
        """The heap's end, and what was mapped, as they were for whoever holds mmap_lock to move it."""
        self._on: dict[str, bool] = {}

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._runtime = runtime
        self._reached.clear()
        self._unlocked = self.written = self._sharing = False
        self._reads_brk = None
        self._adjusted.clear()
        self._linked.clear()
        self._heaps.clear()
        self._on = {name: name not in runtime.without for name in CHECKS}

    def accessed(self, task: Task, op: Operation, obj: Any) -> None:
        """See `Observer.accessed`."""
        about = _ABOUT.get(op)
        if about is not None:
            self._reached.append((about, obj))
            if about is _VMA_ABOUT:
                if op in RANGE:
                    self._adjusted[obj] = None
                elif op in _LINKING:
                    self._linked.add(obj.vm_mm)
        elif op is _BRK_READ:
            if obj.mmap_lock.exclusive is task and self._on["brk"] and obj not in self._heaps:
                self._reads_brk = obj
        elif (op is FREE or op is FREE_STEPPED) and isinstance(obj, VmArea):
            self._adjusted.pop(obj, None)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        dep = op.dep
        if dep is None:
            if op is FREE_FRAME:
                with quiet():
                    if self._on["tlb"]:
                        _raise("tlb", stale_translations(self._machine().mms, arg))
                    if self._on["secondary-mmu"]:
                        _raise("secondary-mmu", stale_mirrors(self._machine().mms, arg))
            elif op in _ABOUT:
                self._reached.append((_ABOUT[op], arg if op is SWITCH else obj))
            self._sharing |= op is PTS_ADD
            return
        if obj.name in RMAP_LOCKS:
            if dep is Dep.RELEASE:
                self._reached.append((_LOCK_ABOUT, obj))
        elif obj.name == "mm->mmap_lock" and (op is UP_WRITE or op is UP_READ or dep is Dep.DOWNGRADE):
            self.written |= op is not UP_READ
            self._unlocked = self.written

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.announced`."""
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
                self._heaps[mm] = mm.brk, mapped(mm)

    def finished(self) -> None:
        """See `Observer.finished`."""
        machine = self._machine()
        free = set(map(id, machine.memory.free_list))
        memory = machine.memory
        left = sum(id(folio) not in free and not _in_caches_only(memory, folio) for folio in memory.mem_map)
        assert self._runtime is not None
        if left and "leak" not in self._runtime.without:
            raise Failure(Kind.LEAK, f"leak: {left} frames never freed", check="leak")

    def _machine(self) -> Machine:
        assert self._runtime is not None
        return self._runtime.domain(Machine)

    def _look_at_rmap(self, about: str, what: Any) -> None:
        """Look at the instances of I1, I3 and I6 that a change of `what` may have made false."""
        machine = self._machine()
        mms, memory, on = machine.mms, machine.memory, self._on
        lock: RwSemaphore | None = None
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
            # What no tree has that anybody could walk now is no instance.
            if not an_rmap_lock_is_free(what):
                return
            mms = [what.vm_mm]
        else:
            mms = [what]
        if on["interval-tree"]:
            if lock is not None:
                _raise("interval-tree", _first(interval_tree(vma, lock) for vma in self._adjusted))
            elif about is _VMA_ABOUT:
                _raise("interval-tree", interval_tree(what))
        if on["coverage"]:
            _raise("coverage", coverage(mms, memory, part))
        if self._sharing and on["shared-in-vma"]:
            _raise("shared-in-vma", shared_in_vma(mms, memory, part))

    def _look_at_vmas(self) -> None:
        """After mmap_lock was written under; where nobody holds it any more, what is mapped must fit the VMAs."""
        machine = self._machine()
        mms, memory, on = machine.mms, machine.memory, self._on
        with quiet():
            # Up to v6.0 a stack grows under mmap_lock for reading, and page_table_lock.
            settled = [mm for mm in mms if mm.mmap_lock.exclusive is None and mm.page_table_lock.unheld]
            if on["vma-index"]:
                _raise("vma-index", _first(map(vma_index, settled)))
            if on["anon-vma-chain"]:
                _raise("anon-vma-chain", _first(anon_vma_chain(mm) for mm in settled if mm in self._linked))
            self._linked.difference_update(settled)
            for mm in [mm for mm in self._heaps if mm.mmap_lock.exclusive is None]:
                _raise("brk", heap(mm, *self._heaps.pop(mm)))
            if on["mapcount"]:
                _raise("mapcount", mapcounts(mms, memory))
            if on["swap-count"]:
                _raise("swap-count", swap_counts(mms, memory))
            if all(mm.mmap_lock.unheld for mm in mms):
                self.written = False
                if on["rights"]:
                    _raise("rights", _first(map(rights, mms)))
                if on["huge-in-vma"]:
                    _raise("huge-in-vma", _first(map(huge_in_vma, mms)))


def _in_caches_only(memory: Memory, folio: Folio) -> bool:
    """Nobody but the swap cache, or the shrinker of the huge zero page, refers to it: reclaim would find it there."""
    if is_huge_zero_frame(memory, folio):
        return bool(peek(memory.huge_zero, "refcount") == 1)
    return peek(folio, "swap") is not None and peek(folio, "refcount") == 1


def _first(answers: Iterable[str | None]) -> str | None:
    return next(filter(None, answers), None)


def _raise(check: str, wrong: str | None) -> None:
    if wrong:
        raise Failure(Kind.INVARIANT, f"{check}: {wrong}", check=check)


def model_observers() -> tuple[Observer, ...]:
    """The observers of every scenario on the mm model."""
    return (LockOrder(), ModelChecks())
