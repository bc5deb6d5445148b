"""vm_refcnt: who uses a VMA, in one number. Kernel: include/linux/mm_types.h and include/linux/refcount.h, v6.15.

    0                      detached: in no tree, and nobody may take a reference
    1                      attached
    1 + n                  attached, and n readers
    VMA_LOCK_OFFSET + ...  the same while a writer waits for the readers, or is about to leave; no reader may come

Orders are those of refcount_t: to take a reference acquires, to drop one releases, to attach releases. A VMA's memory
may be used again at once (SLAB_TYPESAFE_BY_RCU), so whoever comes by with an old pointer must see all of what the VMA
is now, once he has a reference: that is what attaching releases and taking a reference acquires.

The lock validator knows the count as the lock vma->vm_lock, as the kernel's does by `vmlock_dep_map`: a reader tries to
take it, a writer takes it while it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sugarbush.concurrency import bug_on
from sugarbush.concurrency.core import Access, Dep, if_it_succeeds
from sugarbush.concurrency.locks import SharedLock
from sugarbush.concurrency.lowlevel import Operation

if TYPE_CHECKING:
    from sugarbush.concurrency import Task

VMA_LOCK_OFFSET = 0x4000_0000
"""What a writer adds."""
VMA_REF_LIMIT = VMA_LOCK_OFFSET - 1
"""A count above this one takes no reader: so one with a writer does not."""


class VmRefcnt(SharedLock):
    """The count of one VMA. It stays the same object when the VMA's memory is used again, as memory does."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        super().__init__("vma->vm_lock")
        self._count = 0

    @property
    def holders(self) -> tuple[Task, ...]:
        """Give the readers, and the writer while it waits for them or is about to leave."""
        return (*self._readers, *(() if self._writer is None else (self._writer,)))

    def held_alone(self, task: Task) -> bool | None:  # noqa: ARG002
        """None, as if nobody held it: a writer takes it while readers are there, and then waits for them.

        So who holds it keeps nobody out (`faces.Excluding`), but for new readers, who do not wait.
        """
        return None


def is_vma_writer_only(count: int) -> bool:
    """A writer is there and no reader: VMA_LOCK_OFFSET, with 1 more if the VMA is attached.

    >>> counts = (0, 1, 2, VMA_LOCK_OFFSET, VMA_LOCK_OFFSET + 1, VMA_LOCK_OFFSET + 2)
    >>> [is_vma_writer_only(count) for count in counts]
    [False, False, False, True, True, False]
    """
    return VMA_LOCK_OFFSET <= count <= VMA_LOCK_OFFSET + 1


def _inc_not_zero(refcnt: VmRefcnt, task: Task, _arg: object) -> bool | None:
    if refcnt._count == 0:
        # Another answer than for "locked": the caller asks the tree again, since another VMA may be there by
        # now. To take the one for the other is vma-end-read-error (Z86).
        return None
    if refcnt._count + 1 > VMA_REF_LIMIT:
        return False
    refcnt._count += 1
    refcnt._readers.append(task)
    return True


def _put(refcnt: VmRefcnt, task: Task, _arg: object) -> int:
    # The validator's list and the count are two things: the count may be right, and the wrong task gives it
    # back.
    if task not in refcnt._readers:
        refcnt._unheld_release("vma_refcount_put")
    else:
        refcnt._readers.remove(task)
    _not_below_zero(refcnt)
    refcnt._count -= 1
    return refcnt._count


def _dec_and_test(refcnt: VmRefcnt, _task: Task, _arg: object) -> bool:
    _not_below_zero(refcnt)
    refcnt._count -= 1
    return refcnt._count == 0


def _not_below_zero(refcnt: VmRefcnt) -> None:
    bug_on(
        refcnt._count == 0,
        "refcount_t: underflow; use-after-free. WARNING: refcount_warn_saturate() in vma->vm_refcnt",
        "vma-refcount",
    )


def _set(refcnt: VmRefcnt, _task: Task, count: int) -> None:
    refcnt._count = count


def _add_offset(refcnt: VmRefcnt, _task: Task, _arg: object) -> bool:
    if refcnt._count == 0:
        return False
    refcnt._count += VMA_LOCK_OFFSET
    return True


def _write_lock(refcnt: VmRefcnt, task: Task, _arg: object) -> None:
    # For the validator only: what keeps readers out is the offset, which the caller has added before.
    refcnt._writer = task


def _sub_offset(refcnt: VmRefcnt, _task: Task, _arg: object) -> bool:
    refcnt._writer = None
    refcnt._count -= VMA_LOCK_OFFSET
    return refcnt._count == 0


def _is(refcnt: VmRefcnt, _task: Task, count: int) -> bool:
    return refcnt._count == count


_ORDER = ("vm_refcnt",)
INC_NOT_ZERO_LIMITED_ACQUIRE = Operation(
    "refcount_inc_not_zero_limited_acquire",
    effect=_inc_not_zero,
    wakes=False,
    dep=Dep.TRY_READ,
    acquires=_ORDER,
    local=True,
)
"""True, or False while a writer is there, or None of a detached VMA. Orders nothing if it fails."""
REFCOUNT_PUT = Operation(
    "refcount_dec_and_test", effect=_put, wakes=False, dep=Dep.RELEASE, releases=_ORDER, local=True
)
"""Gives what is left. In the kernel it acquires if that is 0, for a caller that frees the object then; a reader
never does.
"""
REFCOUNT_DEC_AND_TEST = Operation(
    "refcount_dec_and_test", effect=_dec_and_test, wakes=False, acquires=_ORDER, releases=_ORDER, local=True
)
"""For the task that detaches the VMA: it acquires what the readers did, since it waits for those that are left,
or frees the VMA.
"""
REFCOUNT_SET = Operation("refcount_set", effect=_set, wakes=False, local=True)
REFCOUNT_SET_RELEASE = Operation(
    "refcount_set_release", effect=_set, wakes=False, releases=_ORDER, local=True
)
REFCOUNT_ADD_NOT_ZERO = Operation("refcount_add_not_zero", effect=_add_offset, wakes=False, local=True)
WRITE_LOCK = Operation("rwsem_acquire", effect=_write_lock, wakes=False, dep=Dep.ACQUIRE, local=True)
"""What the lock validator is told when a writer begins to wait."""
REFCOUNT_SUB_AND_TEST = Operation(
    "refcount_sub_and_test", effect=_sub_offset, wakes=False, dep=Dep.RELEASE, releases=_ORDER, local=True
)
# refcount_read() orders nothing; that it has seen what the readers left is a control dependency for the stores after
# it. Plain accesses have no dependencies here, so it acquires: the writer reads nothing that a reader has written.
REFCOUNT_IS = Operation(
    "refcount_read", Access.READ_ONCE, effect=_is, acquires=_ORDER, orders=if_it_succeeds, local=True
)
