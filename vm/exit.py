"""The end of an address space. Kernel: exit_mmap() in mm/mmap.c and check_mm() in kernel/fork.c, v6.1."""

from __future__ import annotations

from concurrency import bug_on
from vm.layout import TASK_SIZE, USER_PGTABLES_CEILING
from vm.mm import (
    MmStruct,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
)
from vm.munmap import remove_vma
from vm.tlb import tlb_finish_mmu, tlb_gather_mmu
from vm.zap import free_pgtables, unmap_vmas


def exit_mmap(mm: MmStruct) -> None:
    """Tear the address space down; no task of its process runs any more. Takes mmap_lock.

    The pages go under the lock for reading, page tables and VMAs under the lock for writing: rmap walks may still
    come by. Fails with the kernel's words if pages are still counted afterwards (check_mm() in kernel/fork.c).
    """
    bug_on(
        mm.ended,
        f"kernel BUG at kernel/fork.c: __mmput(): VM_BUG_ON(atomic_read(&mm->mm_users)) mm:{mm.name}",
    )
    mm.ended = True
    tlb = tlb_gather_mmu(mm, fullmm=True)
    mmap_read_lock(mm)
    walk = mm.mm_mt.cursor()
    doomed = []
    while (found := walk.find()) is not None:
        doomed.append(found)
    unmap_vmas(tlb, doomed, 0, TASK_SIZE)
    mmap_read_unlock(mm)
    mm.oom_skip = True
    mmap_write_lock(mm)
    free_pgtables(tlb, doomed, 0, USER_PGTABLES_CEILING)
    tlb_finish_mmu(tlb)
    for vma in doomed:
        remove_vma(vma)
    bug_on(
        len(doomed) != mm.map_count,
        f"kernel BUG at mm/mmap.c: exit_mmap(): BUG_ON(count != mm->map_count) mm:{mm.name}",
    )
    mm.mm_mt.destroy()
    mm.map_count = 0
    mmap_write_unlock(mm)
    for member, left in mm.rss.items():
        bug_on(left, f"BUG: Bad rss-counter state mm:{mm.name} type:{member} val:{left}", "rss")
