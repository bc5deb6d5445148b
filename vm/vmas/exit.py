"""The end of an address space. Kernel: exit_mmap() in mm/mmap.c and check_mm() in kernel/fork.c, v5.19 and v6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import bug_on
from sugarbush.concurrency.lowlevel import Operation, perform
from sugarbush.vm.frames import MmuGather, mmu_notifier_release, tlb_finish_mmu, tlb_gather_mmu
from sugarbush.vm.huge import mm_put_huge_zero_page
from sugarbush.vm.objects import TASK_SIZE, USER_PGTABLES_CEILING, MmStruct, VmArea
from sugarbush.vm.spaces import (
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    mmlist_del,
    mmput_last,
    vma_mark_detached,
    vma_start_write,
)
from sugarbush.vm.vmas.munmap import remove_vma
from sugarbush.vm.vmas.zap import free_pgtables, unmap_vmas

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place


def _put(mm: MmStruct, _task: Any, _arg: Any) -> None:
    mm.ended = True


def _is_seen_under_mmap_lock(mm: MmStruct, _task: Any, _arg: Any) -> list[Place]:
    # Whoever asks whether it has ended does so right after an operation on the lock, so that is where it meets this.
    return [(mm.mmap_lock, None, True), (mm, "ended", True)]


MMPUT = Operation("mmput", effect=_put, wakes=False, touches=_is_seen_under_mmap_lock)


def exit_mmap(mm: MmStruct) -> None:
    """Tear the address space down, as its era does; no task of its process runs any more. Takes mmap_lock.

    Where there is swap, a swapoff that is looking through the address space is waited for (`vm.spaces.mmlist`).
    Fails with the kernel's words if pages are still counted afterwards (check_mm() in kernel/fork.c).
    """
    bug_on(
        mm.ended,
        f"kernel BUG at kernel/fork.c: __mmput(): VM_BUG_ON(atomic_read(&mm->mm_users)) mm:{mm.name}",
    )
    swap = mm.memory.swap is not None
    # Before the process counts as ended: a swapoff that has got the address space (mmget_not_zero) is in its
    # page tables.
    if swap:
        mmput_last(mm)
    perform(MMPUT, mm)
    # Before the page tables: mirrors drop what they have while its pages are still there (notifier-release,
    # Z67).
    mmu_notifier_release(mm)
    mm.era.tear_down(mm)
    if swap:
        mmlist_del(mm)
    # After the flushes of the tear-down: a translation of the page may be in use until then (huge-zero-flush,
    # Z77).
    mm_put_huge_zero_page(mm)
    for member, left in mm.rss.items():
        bug_on(left, f"BUG: Bad rss-counter state mm:{mm.name} type:{member} val:{left}", "rss")


def tear_down_as_writer(mm: MmStruct) -> None:
    """As v5.19: everything under mmap_lock for writing, which is taken here, so the OOM reaper finds all of it or
    nothing.

    A victim of the OOM killer is reaped before, there; this model has no OOM killer.
    """
    tlb = tlb_gather_mmu(mm, fullmm=True)
    # All in one section. Up to v4.16 a part of it came before, without the lock, and the reaper in between
    # (exit-munlock-reaper, Z42).
    mmap_write_lock(mm)
    doomed = _all_vmas(mm)
    unmap_vmas(tlb, doomed, 0, TASK_SIZE)
    _free_all(mm, tlb, doomed)


def tear_down_as_reader_first(mm: MmStruct) -> None:
    """As since v6.0: the pages go under the lock for reading, beside the OOM reaper, which is then told that there is
    nothing left; page tables and VMAs go under the lock for writing, since rmap walks may still come by.
    """
    _tear_down(mm, detach=False)


def tear_down_and_detach(mm: MmStruct) -> None:
    """As `tear_down_as_reader_first`; each VMA is detached before it is freed, as since v6.15.

    A task of another address space may have come by with an old pointer, and have a reference for a moment.
    """
    _tear_down(mm, detach=True)


def _tear_down(mm: MmStruct, *, detach: bool) -> None:
    """Take mmap_lock for reading and empty all VMAs; take it for writing and free all that there is."""
    tlb = tlb_gather_mmu(mm, fullmm=True)
    mmap_read_lock(mm)
    doomed = _all_vmas(mm)
    unmap_vmas(tlb, doomed, 0, TASK_SIZE)
    mmap_read_unlock(mm)
    # In between: a reaper that takes mmap_lock for reading after this finds that there is nothing to reap;
    # one that has it already is waited for by the next line. Up to v5.18 it was set for OOM victims only, and
    # the VMAs could still be found when they were freed (mrelease-after-exit, Z41).
    mm.oom_skip = True
    mmap_write_lock(mm)
    _free_all(mm, tlb, doomed, detach=detach)


def _all_vmas(mm: MmStruct) -> list[VmArea]:
    walk = mm.mm_mt.cursor()
    found = []
    while (vma := walk.find()) is not None:
        found.append(vma)
    return found


def _free_all(mm: MmStruct, tlb: MmuGather, doomed: list[VmArea], *, detach: bool = False) -> None:
    """Free page tables, pages and VMAs, and give mmap_lock back. Needs it for writing."""
    for vma in doomed:
        vma_start_write(vma)
    # For writing: rmap walks may still come by way of other processes, and each VMA must be out of their
    # reach before its tables go. Then the flush, and only then pages and tables.
    free_pgtables(tlb, doomed, 0, USER_PGTABLES_CEILING)
    tlb_finish_mmu(tlb)
    for vma in doomed:
        if detach:
            # Nobody of this process is left, but a task of another one may have an old pointer to this memory
            # (exit-attached, Z87).
            vma_mark_detached(vma)
        remove_vma(vma)
    bug_on(
        len(doomed) != mm.map_count,
        f"kernel BUG at mm/mmap.c: exit_mmap(): BUG_ON(count != mm->map_count) mm:{mm.name}",
    )
    mm.mm_mt.destroy()
    mm.map_count = 0
    mmap_write_unlock(mm)
