"""The invariants at work: when each is looked at, and the names that ``--without`` takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from concurrency import Dep, Failure, Kind, Observer, Operation, Runtime, RwSemaphore, Task, peek, quiet
from concurrency.rwsem import UP_READ, UP_WRITE
from vm.anon_vma_chain import CHAIN_ADD
from vm.filemap import I_MMAP_INSERT, I_MMAP_REMOVE
from vm.folio import FREE_FRAME, Folio, Memory
from vm.hugetlb_share import PTS_ADD
from vm.interval_tree import RB_INSERT, RB_REMOVE
from vm.invariants import (
    coverage,
    heap,
    huge_in_vma,
    mapcounts,
    mapped,
    rights,
    shared_in_vma,
    stale_translations,
    swap_counts,
    vma_index,
)
from vm.lock_order import LockOrder
from vm.machine import Machine
from vm.mm import MmStruct
from vm.mmu_notifier import stale_mirrors
from vm.pgtable import PTE_SET
from vm.rmap_invariants import anon_vma_chain, interval_tree, rmap_locks_free
from vm.vma import VmArea
from vm.zero_page import is_huge_zero_frame

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

_RMAP_LOCKS = ("anon_vma->rwsem", "mapping->i_mmap_rwsem", "hugetlbfs_i_mmap_rwsem_key")
_RANGE_SET = frozenset(VmArea._fields[name].ops["write"] for name in ("vm_start", "vm_end", "vm_pgoff"))
_LINKING = frozenset({CHAIN_ADD, *(VmArea._fields["anon_vma"].ops[how] for how in ("write", "write_once"))})
_BRK_READ = MmStruct._fields["brk"].ops["read"]
_REACH = frozenset(
    {
        RB_INSERT,
        RB_REMOVE,
        I_MMAP_INSERT,
        I_MMAP_REMOVE,
        PTE_SET,
        *_RANGE_SET,
    }
)
"""The operations that can put an entry out of reach."""


class ModelChecks(Observer):
    """Looks at the invariants of the model, each as soon as it must hold again.

    Between the announcement of an operation and whatever ran before it lies nothing, so that is when the state is
    looked at.
    """

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._rmap_lock: RwSemaphore | None = None
        """The one that was used last: while it is held, entries may be out of reach."""
        self._moved = False
        self._unlocked = False
        self._written = False
        self._sharing = False
        """A page-table page has been shared in this execution."""
        self._adjusted: dict[VmArea, None] = {}
        """Those whose range was written since their rmap locks were free."""
        self._linked: set[MmStruct] = set()
        """Where a VMA got or lost an anon_vma, or a link to one, and nobody has looked since."""
        self._heaps: dict[MmStruct, tuple[int, list[tuple[int, int]]]] = {}
        """The heap's end, and what was mapped, as they were for whoever holds mmap_lock to move it."""
        self._on: dict[str, bool] = {}

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._runtime = runtime
        self._rmap_lock = None
        self._moved = self._unlocked = self._written = self._sharing = False
        self._adjusted.clear()
        self._linked.clear()
        self._heaps.clear()
        self._on = {name: name not in runtime.without for name in CHECKS}

    def accessed(self, task: Task, op: Operation, obj: Any) -> None:
        """See `Observer.accessed`."""
        if op in _REACH:
            self._moved = True
            if op in _RANGE_SET:
                self._adjusted[obj] = None
        elif op in _LINKING:
            self._linked.add(obj.vm_mm)
        elif (
            op is _BRK_READ and obj.mmap_lock.exclusive is task and self._on["brk"] and obj not in self._heaps
        ):
            with quiet():
                self._heaps[obj] = obj.brk, mapped(obj)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        dep = op.dep
        if dep is None:
            if op is FREE_FRAME and self._on["tlb"]:
                _raise("tlb", stale_translations(self._machine().mms, arg))
            if op is FREE_FRAME and self._on["secondary-mmu"]:
                with quiet():
                    _raise("secondary-mmu", stale_mirrors(self._machine().mms, arg))
            self._sharing |= op is PTS_ADD
            return
        if obj.name in _RMAP_LOCKS:
            self._rmap_lock = obj
            if op is UP_READ or self._adjusted:
                self._moved = True
        elif obj.name == "mm->mmap_lock" and (op is UP_WRITE or op is UP_READ or dep is Dep.DOWNGRADE):
            self._written |= op is not UP_READ
            self._unlocked = self._written

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.announced`."""
        if self._moved and (self._rmap_lock is None or self._rmap_lock.unheld):
            self._moved = False
            self._look_at_rmap()
        if self._unlocked:
            self._unlocked = False
            self._look_at_vmas()

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

    def _look_at_rmap(self) -> None:
        machine = self._machine()
        with quiet():
            if self._adjusted:
                if self._on["interval-tree"]:
                    _raise("interval-tree", _first(map(interval_tree, self._adjusted)))
                self._adjusted = {vma: None for vma in self._adjusted if not rmap_locks_free(vma)}
            if self._on["coverage"]:
                _raise("coverage", coverage(machine.mms, machine.memory))
            if self._sharing and self._on["shared-in-vma"]:
                _raise("shared-in-vma", shared_in_vma(machine.mms, machine.memory))

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
                self._written = False
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
