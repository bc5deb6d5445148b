"""The locks of single VMAs since v6.15: a count of references in place of the rw_semaphore and of `detached`, and VMAs
whose memory is used again at once. Kernel: include/linux/mm.h, mm/memory.c and kernel/fork.c, v6.15.10.

`vm.objects.vma_refcnt` says what the count means. As before, a writer of mmap_lock leaves the number of its write
section in the VMA (`vm_lock_seq`), and unlocks all VMAs at once when that goes on; here it is odd while mmap_lock is
held for writing.

    who looks                                   who changes, with mmap_lock for writing
    vm_lock_seq == mm_lock_seq? locked          count += VMA_LOCK_OFFSET, so that nobody comes any more
    count += 1, unless 0 or a writer is there   wait until the readers have gone
    vm_mm another one? not mine                 vm_lock_seq = mm_lock_seq
    vm_lock_seq == mm_lock_seq? locked          count -= VMA_LOCK_OFFSET

A VMA is found in the tree without any lock, under RCU. Since its memory is type-safe only, it may meanwhile have been
freed, and be a VMA of another address space: that is what the third line of the reader is for. It may even be locked by
a writer of that other one, who waits for this reader. Then the reader has to wake him, in an address space to which he
has no relation: so he keeps it first (`mmgrab`). That is the fix 9bbffee67ffd (CVE-2025-38554), in v6.15.10: v6.15.0
looked at `vm_mm` after `vma_start_read`, and woke without keeping.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    KmemCache,
    RwSemaphore,
    bug_on,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_wmb,
)
from sugarbush.concurrency.lowlevel import peek, perform
from sugarbush.vm.objects import (
    EAGAIN,
    INC_NOT_ZERO_LIMITED_ACQUIRE,
    REFCOUNT_ADD_NOT_ZERO,
    REFCOUNT_DEC_AND_TEST,
    REFCOUNT_IS,
    REFCOUNT_PUT,
    REFCOUNT_SET_RELEASE,
    REFCOUNT_SUB_AND_TEST,
    VMA_LOCK_OFFSET,
    WRITE_LOCK,
    MmStruct,
    VmArea,
    VmRefcnt,
    is_vma_writer_only,
)
from sugarbush.vm.spaces.mm import mmdrop, mmgrab
from sugarbush.vm.spaces.rcuwait import rcuwait_wait_event, rcuwait_wake_up
from sugarbush.vm.spaces.vma import vma_is_anonymous, vma_typesafe_cache


class VmaRefcounts:
    """Since v6.15: a count in each VMA, and a number that is odd while mmap_lock is held for writing."""

    cache: ClassVar[KmemCache[VmArea]] = vma_typesafe_cache

    def make(self) -> RwSemaphore | None:
        """Give None: the count is made with the VMA, and stays when that is another one."""
        return None

    def begin_write(self, mm: MmStruct) -> None:
        """Make the number odd, before anything is changed. Kernel: mm_lock_seqcount_begin()."""
        WRITE_ONCE(mm, "mm_lock_seq", READ_ONCE(mm, "mm_lock_seq") + 1)
        smp_wmb()

    def start_write(self, vma: VmArea) -> None:
        """Lock `vma`; a new one, which is detached, has no readers to wait for."""
        vma_start_write(vma)

    def end_write_all(self, mm: MmStruct) -> None:
        """Make the number even, which unlocks all VMAs. Kernel: mm_lock_seqcount_end().

        The barrier is for the readers of a VMA, who acquire the number (`vma_start_read`): what was changed is seen by
        whoever sees that it goes on.
        """
        mm.mmap_lock.assert_held_write()
        smp_wmb()
        WRITE_ONCE(mm, "mm_lock_seq", READ_ONCE(mm, "mm_lock_seq") + 1)

    def mark_attached(self, vma: VmArea) -> None:
        """Let readers take references from now on."""
        vma_mark_attached(vma)

    def mark_detached(self, vma: VmArea) -> None:
        """Let nobody take a reference any more, and wait for those who have one."""
        vma_mark_detached(vma)

    def held_by_me(self, vma: VmArea) -> bool:
        """Tell whether the calling task has a reference."""
        return refcnt_of(vma).held_by_me()

    def free(self, vma: VmArea) -> None:
        """Free the VMA at once, since whoever still comes by gets no reference to what is detached."""
        # A count that is not 0 here goes with the memory to the next VMA (exit-attached, Z87).
        bug_on(
            not perform(REFCOUNT_IS, refcnt_of(vma), 0),
            "WARNING: vm_area_free(): vma_assert_detached(): somebody has a reference to what is freed",
            "vma-refcount",
            vma.name,
        )
        vma_typesafe_cache.free(vma)

    def drop_mm(self, mm: MmStruct) -> None:
        """Drop what the process has of `mm`; a reader of a VMA may keep it for a moment longer."""
        mmdrop(mm)


def refcnt_of(vma: VmArea) -> VmRefcnt:
    """The count of a VMA of this era."""
    refcnt = vma.vm_refcnt
    assert refcnt is not None
    return refcnt


def vma_mark_attached(vma: VmArea) -> None:
    """From now on readers may take references. What `vma` is comes with that: its memory may have been another VMA, to
    which somebody still has a pointer.
    """
    refcnt = refcnt_of(vma)
    bug_on(
        not perform(REFCOUNT_IS, refcnt, 0),
        "WARNING: vma_assert_detached() in vma_mark_attached()",
        "vma-refcount",
    )
    # Without the release a reader could have a reference and see fields of the VMA of before
    # (vma-attach-unordered, Z88).
    perform(REFCOUNT_SET_RELEASE, refcnt, 1)


def vma_mark_detached(vma: VmArea) -> None:
    """Nobody may take references any more, and when this returns nobody has one. `vma` is locked for writing.

    Readers may have come since it was locked: they have looked at `vm_lock_seq` before that, and look again once they
    have a reference. They do nothing with the VMA, but they must have gone before its memory is another one's.
    """
    # Both are written only with mmap_lock held for writing, as the caller holds it: so this is no look at
    # what others do.
    locked = peek(vma, "vm_lock_seq") == peek(vma.vm_mm, "mm_lock_seq")
    bug_on(not locked, "kernel BUG: vma_assert_write_locked() in vma_mark_detached()", "vma-refcount")
    refcnt = refcnt_of(vma)
    # Usually nobody is there, and the one step is all. Else as a writer waits, but for one reference less:
    # the tree's.
    if not perform(REFCOUNT_DEC_AND_TEST, refcnt) and vma_enter_locked(vma, detaching=True):
        gone = vma_exit_locked(vma)
        bug_on(not gone, "WARNING: vma_mark_detached(): it should be detached", "vma-refcount")


def vma_enter_locked(vma: VmArea, *, detaching: bool) -> bool:
    """Let no reader come, and wait for those who are there; False, and nothing was done, for a detached VMA.

    Only the caller, who has mmap_lock for writing, could attach it meanwhile. Kernel: __vma_enter_locked().
    """
    refcnt = refcnt_of(vma)
    # The offset first and then the wait: with it no reader comes any more, so the wait ends.
    if not perform(REFCOUNT_ADD_NOT_ZERO, refcnt):
        return False
    perform(WRITE_LOCK, refcnt)
    alone = VMA_LOCK_OFFSET if detaching else VMA_LOCK_OFFSET + 1
    rcuwait_wait_event(vma.vm_mm, partial(perform, REFCOUNT_IS, refcnt, alone))
    return True


def vma_exit_locked(vma: VmArea) -> bool:
    """The end of `vma_enter_locked`; whether the VMA is detached. Kernel: __vma_exit_locked()."""
    return bool(perform(REFCOUNT_SUB_AND_TEST, refcnt_of(vma)))


def vma_start_write(vma: VmArea) -> None:
    """Wait for the readers, and leave the number that tells new ones to stay away; needs mmap_lock for writing."""
    mm = vma.vm_mm
    mm.mmap_lock.assert_held_write()
    seq = READ_ONCE(mm, "mm_lock_seq")
    if READ_ONCE(vma, "vm_lock_seq") == seq:
        return
    attached = vma_enter_locked(vma, detaching=False)
    # While the offset still keeps readers out: when it goes, they must find the number.
    WRITE_ONCE(vma, "vm_lock_seq", seq)
    if attached:
        gone = vma_exit_locked(vma)
        bug_on(gone, "WARNING: __vma_start_write(): the VMA should remain attached", "vma-refcount")


def vma_refcount_put(vma: VmArea) -> None:
    """Drop a reference, and wake the writer who waits for the last one.

    After that `vma` may be anything, so its address space is looked up before. A caller from another address
    space must keep that one (`mmgrab`).
    """
    # Before the reference goes: after that `vma` may be of another address space, and the writer who waits is
    # of this one.
    mm = vma.vm_mm
    left = perform(REFCOUNT_PUT, refcnt_of(vma))
    if is_vma_writer_only(left):
        rcuwait_wake_up(mm)


def vma_start_read(mm: MmStruct, vma: VmArea) -> VmArea | int | None:
    """Try to lock `vma`, which was found in the tree of `mm`, for looking at it; needs a reader of RCU.

    None if it is locked for writing, or was a moment ago, or is another address space's by now; -EAGAIN if it is
    detached: then there may be another one in its place. After None of the third kind the reader of RCU is another one
    than before, since to drop the last reference to an address space takes long.
    """
    # Compared with the address space of the fault, not with `vma.vm_mm`, which may be gone
    # (vma-start-read-mm, Z85).
    if READ_ONCE(vma, "vm_lock_seq") == READ_ONCE(mm, "mm_lock_seq"):
        return None
    taken = perform(INC_NOT_ZERO_LIMITED_ACQUIRE, refcnt_of(vma))
    if not taken:
        return EAGAIN if taken is None else None
    other = vma.vm_mm
    if other is not mm:
        # mmdrop() may sleep. mmgrab() need not fear that `other` is gone: the reference is to a VMA of it
        # that is attached, so it is not torn down yet.
        rcu_read_unlock()
        mmgrab(other)
        vma_refcount_put(vma)
        mmdrop(other)
        rcu_read_lock()
        return None
    # A writer that came in between has left its number by then. That it is acquired is the other half of
    # `end_write_all`.
    if READ_ONCE(vma, "vm_lock_seq") == smp_load_acquire(mm, "mm_lock_seq"):
        vma_refcount_put(vma)
        return None
    return vma


def vma_end_read(vma: VmArea) -> None:
    """The end of a `vma_start_read` that succeeded."""
    vma_refcount_put(vma)


def lock_vma_under_rcu(mm: MmStruct, address: int) -> VmArea | None:
    """Find the VMA of `address` and lock it for reading, without mmap_lock; None on any doubt.

    As `vm.spaces.vma_lock.lock_vma_under_rcu`, with the same limits: files, and VMAs without an anon_vma, are left to
    mmap_lock. A VMA that is locked is in the tree, so there is no look for that. The cursor is set anew before the
    tree is asked again; see the bug vma-lock-stale-cursor.
    """
    mas = mm.mm_mt.cursor(address)
    rcu_read_lock()
    while (found := mas.walk()) is not None:
        vma = vma_start_read(mm, found)
        if isinstance(vma, int):
            # Where the cursor stands may be free by now: vma_start_read() may have ended the reader of RCU
            # (vma-lock-stale-cursor, Z89).
            mas.set_range(address, address)
            continue
        if vma is None:
            break
        inside = vma.vm_start <= address < vma.vm_end
        if inside and READ_ONCE(vma, "anon_vma") is not None and vma_is_anonymous(vma):
            rcu_read_unlock()
            return vma
        vma_end_read(vma)
        break
    rcu_read_unlock()
    return None


REFCOUNTS = VmaRefcounts()
