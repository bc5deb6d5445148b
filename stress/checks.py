"""The invariants at work: when each is looked at, and the names that ``--without`` takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from concurrency import Dep, Failure, Kind, Observer, Operation, Runtime, RwSemaphore, Task, peek, quiet
from concurrency.rwsem import UP_READ, UP_WRITE
from vm.filemap import I_MMAP_INSERT, I_MMAP_REMOVE
from vm.folio import FREE_FRAME, Folio
from vm.interval_tree import RB_INSERT, RB_REMOVE
from vm.invariants import coverage, huge_in_vma, mapcounts, rights, stale_translations, swap_counts, vma_index
from vm.lock_order import LockOrder
from vm.machine import Machine
from vm.pgtable import PTE_SET
from vm.vma import VmArea

CHECKS = {
    "coverage": "I1: every page-table entry is within reach of its rmap tree whenever the rmap lock is free",
    "migration-entry-locked": "I2: a migration entry names a locked page",
    "migration-entry-owner": "I2: the locked page that a migration entry names is still the same one",
    "vma-index": "I4: the tree of VMAs agrees with the VMAs, whenever mmap_lock is free",
    "rights": "I5, I10: nothing is mapped outside of all VMAs or for more than they permit, whenever mmap_lock is free",
    "tlb": "I8: no CPU uses, or could use, a translation of a page that was freed",
    "huge-in-vma": "I6: a huge page lies wholly inside one VMA",
    "bad-pmd": "what is taken for a page-table page is one",
    "pmd-present": "an upper entry that is not present is taken for no page",
    "unmap-folio": "nothing maps a folio that is being split",
    "pinned-exclusive": "a page that is pinned for writing is exclusive to its process until it is unpinned",
    "swap-count": "I7: as many entries name a swap slot as it counts",
    "mapcount": "I7: each page is mapped as often as its mapcount says",
    "rss": "I7: no page is counted as resident in an address space that has ended",
    "private-data": "I11: a process reads back what it wrote",
    "refcount": "no page is used or dropped without a reference",
    "page-tables": "no page-table page is freed with entries in it",
    "lock-order": "locks are taken in the order of mm/rmap.c",
    "lockdep": "the lock validator",
    "atomic-sleep": "nothing sleeps under a spinlock or in an RCU reader",
    "data-race": "plain accesses are ordered by something",
    "rcu": "RCU pointers are read inside readers, and RCU is used by its rules",
    "rcu-stall": "no grace period waits for too long",
    "uninit": "nothing is read that its maker has not made known (weak memory)",
    "use-after-free": "no freed object is touched",
    "double-free": "no object is freed twice",
    "leak": "nothing is left over at the end",
}
"""All checks that can be switched off, and what each says."""

_RMAP_LOCKS = ("anon_vma->rwsem", "mapping->i_mmap_rwsem")
_FIELDS = ("vm_start", "vm_end", "vm_pgoff")
_REACH = frozenset(
    {
        RB_INSERT,
        RB_REMOVE,
        I_MMAP_INSERT,
        I_MMAP_REMOVE,
        PTE_SET,
        *(VmArea._fields[name].ops["write"] for name in _FIELDS),
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
        self._on: dict[str, bool] = {}

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._runtime = runtime
        self._rmap_lock = None
        self._moved = self._unlocked = self._written = False
        self._on = {name: name not in runtime.without for name in CHECKS}

    def accessed(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.accessed`."""
        if op in _REACH:
            self._moved = True

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        dep = op.dep
        if dep is None:
            if op is FREE_FRAME and self._on["tlb"]:
                _raise("tlb", stale_translations(self._machine().mms, arg))
            return
        if obj.name in _RMAP_LOCKS:
            self._rmap_lock = obj
            if op is UP_READ:
                self._moved = True
        elif obj.name == "mm->mmap_lock" and (op is UP_WRITE or op is UP_READ or dep is Dep.DOWNGRADE):
            self._written |= op is not UP_READ
            self._unlocked = self._written

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.announced`."""
        if self._moved and (self._rmap_lock is None or self._rmap_lock.free):
            self._moved = False
            if self._on["coverage"]:
                self._look_at_coverage()
        if self._unlocked:
            self._unlocked = False
            self._look_at_vmas()

    def finished(self) -> None:
        """See `Observer.finished`."""
        machine = self._machine()
        free = set(map(id, machine.memory.free_list))
        left = sum(id(folio) not in free and not _in_caches_only(folio) for folio in machine.memory.mem_map)
        assert self._runtime is not None
        if left and "leak" not in self._runtime.without:
            raise Failure(Kind.LEAK, f"leak: {left} frames never freed", check="leak")

    def _machine(self) -> Machine:
        assert self._runtime is not None
        return self._runtime.domain(Machine)

    def _look_at_coverage(self) -> None:
        machine = self._machine()
        with quiet():
            wrong = coverage(machine.mms, machine.memory)
        _raise("coverage", wrong)

    def _look_at_vmas(self) -> None:
        """After mmap_lock was written under; where nobody holds it any more, what is mapped must fit the VMAs."""
        machine = self._machine()
        mms, memory, on = machine.mms, machine.memory, self._on
        with quiet():
            if on["vma-index"]:
                # Up to v6.0 a stack grows under mmap_lock for reading, and page_table_lock.
                settled = [mm for mm in mms if mm.mmap_lock.writer is None and mm.page_table_lock.free]
                _raise("vma-index", _first(map(vma_index, settled)))
            if on["mapcount"]:
                _raise("mapcount", mapcounts(mms, memory))
            if on["swap-count"]:
                _raise("swap-count", swap_counts(mms, memory))
            if all(mm.mmap_lock.free for mm in mms):
                self._written = False
                if on["rights"]:
                    _raise("rights", _first(map(rights, mms)))
                if on["huge-in-vma"]:
                    _raise("huge-in-vma", _first(map(huge_in_vma, mms)))


def _in_caches_only(folio: Folio) -> bool:
    """Nobody but the swap cache refers to it, where reclaim would find it."""
    return peek(folio, "swap") is not None and peek(folio, "refcount") == 1


def _first(answers: Iterable[str | None]) -> str | None:
    return next(filter(None, answers), None)


def _raise(check: str, wrong: str | None) -> None:
    if wrong:
        raise Failure(Kind.INVARIANT, f"{check}: {wrong}", check=check)


def model_observers() -> tuple[Observer, ...]:
    """The observers of every scenario on the mm model."""
    return (LockOrder(), ModelChecks())
