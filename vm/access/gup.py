"""Pages for those who use them by their frame: get_user_pages(). Kernel: mm/gup.c, v6.1.

A page that is pinned (FOLL_PIN) may be written to for as long as it is. So it must be exclusive to its process, and
stay so: fork copies it, and nobody takes it away.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import (
    READ_ONCE,
    atomic_add_return,
    bug_on,
    local_irq_restore,
    local_irq_save,
    trace,
)
from sugarbush.concurrency.lowlevel import Operation, perform
from sugarbush.vm.access.page_fault import access_error, handle_mm_fault
from sugarbush.vm.faults import PROTECTED, handle_userfault
from sugarbush.vm.frames import folio_put, pfn_to_page, pmdp_get, pte_index, ptep_get, userfaultfd_pte_wp
from sugarbush.vm.objects import (
    EFAULT,
    PAGE_SIZE,
    PTE_READ,
    VM_MAYWRITE,
    VM_SHARED,
    VM_WRITE,
    Folio,
    Memory,
    MmStruct,
    PageTable,
    Present,
    Pte,
    VmArea,
    folio_get,
    folio_test_anon,
    folio_try_get,
)
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_lookup

if TYPE_CHECKING:
    from sugarbush.concurrency import Task
    from sugarbush.concurrency.core import Place


def _begin(memory: Memory, task: Task, _arg: Any) -> None:
    memory.irqs_off.append(task)


def _end(memory: Memory, task: Task, _arg: Any) -> None:
    memory.irqs_off.remove(task)


def _walks(memory: Memory, _task: Any, _arg: Any) -> list[Place]:
    return [(memory, "irqs_off", True)]


WALK_BEGIN = Operation("lockless_pages_from_mm", effect=_begin, touches=_walks)
WALK_END = Operation("gup_pgd_range_end", effect=_end, wakes=True, touches=_walks)


def pin_user_page(mm: MmStruct, address: int) -> Folio | int:
    """Pin the page at `address` for writing: without locks if that is possible, else with mmap_lock.

    The folio, with a pin that `unpin_user_page` ends; or -EFAULT or -ENOMEM. Kernel: pin_user_pages_fast().
    """
    page = lockless_page_from_mm(mm, address)
    if page is not None:
        return page
    while True:
        mmap_read_lock(mm)
        found = get_user_page(mm, address, pin=True)
        if found != PROTECTED:
            mmap_read_unlock(mm)
            return found
        handle_userfault(mm, address & -PAGE_SIZE, partial(mmap_read_unlock, mm))


def unpin_user_page(memory: Memory, page: Folio) -> None:
    """The end of a pin. The page must still be exclusive to its process; kernel: sanity_check_pinned_pages()."""
    bug_on(
        folio_test_anon(page) and not page.anon_exclusive,
        "kernel BUG at mm/gup.c: sanity_check_pinned_pages(): VM_BUG_ON_PAGE(!PageAnonExclusive(page), page)",
        "pinned-exclusive",
        f"{page.name} was pinned for writing, and is shared now",
    )
    atomic_add_return(page.head, "pincount", -1)
    folio_put(memory, page)


def lockless_page_from_mm(mm: MmStruct, address: int) -> Folio | None:
    """Pin the page at `address`, if it is mapped writable, with nothing but interrupts off; None on any doubt.

    While interrupts are off no page-table page is freed (`vm.frames.tlb.tlb_remove_table_sync_one`). A fork that
    copies the entries meanwhile may have seen that the page is not pinned, so then the pin is given up.
    """
    # Before the walk, and once more after the pin: a fork that copies entries in between may have asked for
    # pins before there was one (gup-fast-against-fork, Z36).
    seq = READ_ONCE(mm, "write_protect_seq")
    if seq & 1:
        return None
    # In place of a lock: whoever is about to free a page-table page sends an interrupt to all, and waits
    # until it is answered.
    flags = local_irq_save()
    perform(WALK_BEGIN, mm.memory)
    page = gup_pte_range(mm, address)
    perform(WALK_END, mm.memory)
    local_irq_restore(flags)
    if page is not None and write_protect_retry(mm, seq):
        atomic_add_return(page.head, "pincount", -1)
        folio_put(mm.memory, page)
        return None
    return page


def write_protect_retry(mm: MmStruct, seq: int) -> bool:
    """A fork has copied entries since `seq` was read."""
    return bool(READ_ONCE(mm, "write_protect_seq") != seq)


def gup_pte_range(mm: MmStruct, address: int) -> Folio | None:
    """Pin the page that a writable entry names, if the entry is the same afterwards. Interrupts must be off."""
    table = pmdp_get(mm, address)
    if not isinstance(table, PageTable):
        return None
    pte = ptep_get(table, address)
    if not isinstance(pte, Present) or not pte.write:
        return None
    page = mm.memory.mem_map[pte.pfn]
    # Unless it is free: between the look at the entry and here anything may have happened to the page.
    if not folio_try_get(page.head):
        return None
    atomic_add_return(page.head, "pincount", 1)
    # After the pin: whoever takes the page away clears the entry first, and looks for pins then. One of the
    # two sees the other.
    again = ptep_get(table, address)
    if (
        # The table may have been left to others, who map something else in it by now (hugetlb-unshare-gup,
        # Z62), or taken by khugepaged.
        pmdp_get(mm, address) is not table
        or not isinstance(again, Present)
        or again.pfn != pte.pfn
        or not again.write
    ):
        atomic_add_return(page.head, "pincount", -1)
        folio_put(mm.memory, page)
        return None
    trace("gup_fast", mm=mm.name, addr=hex(address), page=page.name)
    return page


def get_user_page(mm: MmStruct, address: int, *, force: bool = False, pin: bool = False) -> Folio | int:
    """The page at `address`, to be written to, with a reference or a pin; needs mmap_lock. -EFAULT, -ENOMEM, or
    PROTECTED: userfaultfd keeps stores away, and a caller that may give mmap_lock back waits until it does so no
    more.

    With `force` (FOLL_FORCE) a private mapping that is only readable counts as writable: the page is copied. Each
    fault may be undone before the page is looked up, so it is looked up until it is found. Kernel: __get_user_pages().
    """
    vma = vma_lookup(mm, address)
    if vma is None or (access_error(vma, write=True) and not (force and _may_force(vma))):
        return EFAULT
    while True:
        # Always for writing, until it is found. To ask for less once a fault has made the copy, because the
        # entry stays read-only, finds the page of the file when the copy was dropped in between (dirty-cow,
        # Z35).
        page = follow_page(vma, address, force=force, pin=pin)
        if page is not None:
            return page
        error = faultin_page(vma, address)
        if error:
            return error


def _may_force(vma: VmArea) -> bool:
    return bool(vma.vm_flags & VM_MAYWRITE) and not vma.vm_flags & VM_SHARED


def faultin_page(vma: VmArea, address: int) -> int:
    """Fault the page at `address` in for writing; 0 or an error. Needs mmap_lock."""
    return handle_mm_fault(vma.vm_mm, vma, address & -PAGE_SIZE, write=True)


def follow_page(vma: VmArea, address: int, *, force: bool, pin: bool) -> Folio | None:
    """The page at `address`, if its entry lets it be written to; takes the page-table lock. Needs mmap_lock.

    The reference or pin is taken under that lock, so whoever changes the entry sees it.
    """
    mm = vma.vm_mm
    pmd = pmdp_get(mm, address)
    if isinstance(pmd, PageTable):
        with pmd.ptl:
            return _take(vma, ptep_get(pmd, address), 0, force=force, pin=pin)
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        entry = None if isinstance(pmd, PageTable) else pmd
        return _take(vma, entry, pte_index(mm, address), force=force, pin=pin)


def _take(vma: VmArea, entry: Pte, offset: int, *, force: bool, pin: bool) -> Folio | None:
    """The page of `entry`, with a reference or a pin, if it may be written to. Needs the lock of the entry."""
    if not isinstance(entry, Present) or not entry.bits & PTE_READ:
        return None
    page = pfn_to_page(vma.vm_mm.memory, entry.pfn + offset)
    if not can_follow_write_pte(entry, page, vma, force=force):
        return None
    folio_get(page)
    if pin:
        atomic_add_return(page.head, "pincount", 1)
    return page


def can_follow_write_pte(pte: Present, page: Folio, vma: VmArea, *, force: bool) -> bool:
    """The entry is writable; or a forced write may go to the page, since it is a copy of the process's own.

    Force goes past the rights of a private mapping. What its mapping permits takes a write fault like any store, and
    what userfaultfd protects is a matter for the monitor, which only a fault asks.
    """
    if pte.write:
        return True
    if not force or vma.vm_flags & VM_WRITE or not _may_force(vma):
        return False
    # Of this page, as it is now: that a copy was made once says nothing of the page that is there (dirty-cow,
    # Z35).
    return folio_test_anon(page) and page.anon_exclusive and not userfaultfd_pte_wp(vma, pte)


def access_remote_vm(mm: MmStruct, address: int, token: object) -> int:
    """Write `token` to the page at `address` of another process, whatever its VMA permits, as a debugger does.

    0 or -EFAULT or -ENOMEM. Takes mmap_lock for reading, and never waits for a monitor of userfaultfd: what it protects
    gives -EFAULT, as a fault without FAULT_FLAG_ALLOW_RETRY is SIGBUS. Kernel: /proc/PID/mem, ptrace(2).
    """
    mmap_read_lock(mm)
    page = get_user_page(mm, address, force=True)
    if not isinstance(page, int):
        page.token = token
        page.head.dirty = True
        trace("access_remote_vm", mm=mm.name, addr=hex(address), page=page.name)
        folio_put(mm.memory, page)
    mmap_read_unlock(mm)
    if isinstance(page, int):
        return EFAULT if page == PROTECTED else page
    return 0
