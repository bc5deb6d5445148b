"""The invariants at work: when each is looked at, and the names that ``--without`` takes."""

from __future__ import annotations

from typing import Any

from concurrency import Dep, Failure, Kind, Observer, Operation, Runtime, Task, quiet
from concurrency.rwsem import UP_READ, UP_WRITE
from vm.anon_vma import RB_INSERT, RB_REMOVE
from vm.invariants import coverage, mapcounts, vma_index
from vm.lock_order import LockOrder
from vm.machine import Machine
from vm.pgtable import PTE_SET
from vm.vma import VmArea

CHECKS = {
    "coverage": "I1: every page-table entry is within reach of its rmap tree whenever the rmap lock is free",
    "migration-entry-locked": "I2: a migration entry names a locked page, and still the same one",
    "vma-index": "I4: the tree of VMAs agrees with the VMAs, whenever mmap_lock is free",
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

_FIELDS = ("vm_start", "vm_end", "vm_pgoff")
_REACH = frozenset({RB_INSERT, RB_REMOVE, PTE_SET, *(VmArea._fields[name].ops["write"] for name in _FIELDS)})
"""The operations that can put an entry out of reach."""


class ModelChecks(Observer):
    """Looks at the invariants of the model, each as soon as it must hold again.

    Between the announcement of an operation and whatever ran before it lies nothing, so that is when the state is
    looked at.
    """

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._rmap_writers = 0
        self._moved = False
        self._unlocked = False
        self._coverage = self._index = self._mapcount = True

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._runtime = runtime
        self._rmap_writers = 0
        self._moved = self._unlocked = False
        self._coverage = "coverage" not in runtime.without
        self._index = "vma-index" not in runtime.without
        self._mapcount = "mapcount" not in runtime.without

    def accessed(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.accessed`."""
        if op in _REACH:
            self._moved = True

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        dep = op.dep
        if dep is None:
            return
        if obj.name == "anon_vma->rwsem":
            if obj.writer is task:
                self._rmap_writers += 1
            elif op is UP_WRITE:
                self._rmap_writers -= 1
            elif op is UP_READ:
                self._moved = True
        elif obj.name == "mm->mmap_lock" and (op is UP_WRITE or dep is Dep.DOWNGRADE):
            self._unlocked = True

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.announced`."""
        if self._moved and not self._rmap_writers:
            self._moved = False
            if self._coverage:
                self._look_at_coverage()
        if self._unlocked:
            self._unlocked = False
            self._look_at_vmas()

    def finished(self) -> None:
        """See `Observer.finished`."""
        machine = self._machine()
        left = len(machine.memory.mem_map) - len(machine.memory.free_list)
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
        if wrong:
            raise Failure(Kind.INVARIANT, f"coverage: {wrong}", check="coverage")

    def _look_at_vmas(self) -> None:
        machine = self._machine()
        with quiet():
            settled = [mm for mm in machine.mms if mm.mmap_lock.writer is None]
            wrong = next(filter(None, map(vma_index, settled)), None) if self._index else None
            if wrong:
                raise Failure(Kind.INVARIANT, f"vma-index: {wrong}", check="vma-index")
            wrong = mapcounts(machine.mms, machine.memory) if self._mapcount else None
            if wrong:
                raise Failure(Kind.INVARIANT, f"mapcount: {wrong}", check="mapcount")


def model_observers() -> tuple[Observer, ...]:
    """The observers of every scenario on the mm model."""
    return (LockOrder(), ModelChecks())
