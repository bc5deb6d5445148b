"""Reservations of huge pages: what mmap promises, and who may have what was promised. Kernel: mm/hugetlb.c, v6.1.

mmap reserves the pages that a mapping may come to need, so that a fault does not fail: for a shared mapping
those of the file that nobody has reserved, for a private one a page for each of its own, which belong to it
alone, and not to a child of a fork. With MAP_NORESERVE it reserves nothing, and a fault takes what is neither
used nor promised.

A promise and the number of them (`resv_huge_pages`) are under two locks, so there is a moment between the look
at the map and the change of it (`region_chg`, `region_add`). Whoever finds afterwards that another was faster
gives back what he has counted too much (33039678c8da, v4.2).

    >>> resv = ResvMap()
    >>> region_chg(resv, 0, 4)         # so many are counted as promised ...
    4
    >>> region_add(resv, 2, 3)         # ... another task promises one of them ...
    1
    >>> region_add(resv, 0, 4)         # ... so fewer come into the map, and one is given back
    3
"""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.files import HugetlbFile, hstate_file, vma_resv_map
from sugarbush.vm.frames import alloc_folio, folio_put
from sugarbush.vm.objects import ENOMEM, VM_NORESERVE, VM_SHARED, VM_WRITE, Folio, MmStruct, ResvMap, VmArea
from sugarbush.vm.spaces import linear_page_index, vma_pages

# -- the map ----------------------------------------------------------------------------------------------------


def region_chg(resv: ResvMap, first: int, end: int) -> int:
    """How many of the pages ``[first, end)`` are not in the map."""
    with resv.lock:
        return end - first - len(resv.regions & frozenset(range(first, end)))


def region_add(resv: ResvMap, first: int, end: int) -> int:
    """Put the pages into the map; gives how many were not in it."""
    pages = frozenset(range(first, end))
    with resv.lock:
        before = resv.regions
        resv.regions = before | pages
        return len(pages - before)


def region_del(resv: ResvMap, first: int, end: int | None) -> int:
    """Take the pages out of the map, without `end` all from `first` on; gives how many were in it."""
    with resv.lock:
        before = resv.regions
        resv.regions = frozenset(page for page in before if page < first or (end is not None and end <= page))
        return len(before) - len(resv.regions)


def region_count(resv: ResvMap, first: int, end: int) -> int:
    """How many of the pages are in the map."""
    return end - first - region_chg(resv, first, end)


# -- promising --------------------------------------------------------------------------------------------------


def hugetlb_acct_memory(file: HugetlbFile, delta: int) -> bool:
    """Promise so many pages more, or fewer; False if there are not so many that are free and not promised."""
    # Look and change in one section: two promises of the last page cannot both be given.
    with file.hugetlb_lock:
        if delta > 0 and file.resv_huge_pages + delta > file.free_huge_pages:
            return False
        file.resv_huge_pages += delta
        return True


def hugetlb_file_mmap(vma: VmArea) -> int:
    """`vma` is about to map its file: reserve what it may need. 0 or -ENOMEM. Takes i_rwsem of the file.

    Kernel: hugetlbfs_file_mmap(). A file that is written to becomes as long as the mapping.
    """
    file = hstate_file(vma)
    first = vma.vm_pgoff
    end = first + vma_pages(vma)
    file.i_rwsem.down_write()
    reserved = hugetlb_reserve_pages(file, first, end, vma)
    size = file.i_size
    if reserved and vma.vm_flags & VM_WRITE and size is not None and size < end:
        file.i_size = end
    file.i_rwsem.up_write()
    return 0 if reserved else ENOMEM


def hugetlb_reserve_pages(file: HugetlbFile, first: int, end: int, vma: VmArea) -> bool:
    """Reserve the pages ``[first, end)`` of the file for `vma`; False if there are too few. With VM_NORESERVE
    nothing is reserved. Needs i_rwsem of the file.
    """
    if vma.vm_flags & VM_NORESERVE:
        return True
    if not vma.vm_flags & VM_SHARED:
        # Before the count. Without the map a close gives back nothing; with it, and without the count, too
        # much: hence the line after the failure.
        vma.vm_private_data = ResvMap()
        if hugetlb_acct_memory(file, end - first):
            return True
        # What is closed later must not give back what it never had (92fe9dcbe4e1).
        vma.vm_private_data = None
        return False
    # Look, count, enter: three sections. If another task promises one of these pages in between, the last one
    # sees it, which enters fewer than were counted (hugetlb-reserve-race, Z76). One section is no way out:
    # the counter is the pool's, the map the file's, and in the kernel entering needs memory.
    wanted = region_chg(file.resv_map, first, end)
    if not hugetlb_acct_memory(file, wanted):
        return False
    added = region_add(file.resv_map, first, end)
    if wanted > added:
        hugetlb_acct_memory(file, added - wanted)
    return True


def hugetlb_unreserve_pages(file: HugetlbFile, first: int, end: int | None, freed: int) -> None:
    """The pages from `first` on are gone from the file, `freed` of them had been allocated: nothing is
    promised.
    """
    hugetlb_acct_memory(file, freed - region_del(file.resv_map, first, end))


def hugetlb_vm_op_close(vma: VmArea) -> None:
    """The end of a mapping: a private one gives back what it has not used of its reservations."""
    resv = vma_resv_map(vma)
    if vma.vm_flags & VM_SHARED or resv is None:
        return
    first, pages = vma.vm_pgoff, vma_pages(vma)
    left = pages - region_count(resv, first, first + pages)
    if left:
        hugetlb_acct_memory(hstate_file(vma), -left)


# -- having -----------------------------------------------------------------------------------------------------


def vma_needs_reservation(vma: VmArea, index: int) -> bool:
    """True if no page is promised to `vma` for page `index` of its file. Kernel: gives 1 then."""
    resv = vma_resv_map(vma)
    if resv is None:
        return True
    missing = region_chg(resv, index, index + 1) == 1
    return missing if vma.vm_flags & VM_SHARED else not missing


def vma_commit_reservation(vma: VmArea, index: int) -> bool:
    """The page is allocated: for a shared mapping it is in the map now, for a private one its promise is used up.

    Whether it was still missing, as `vma_needs_reservation` had said.
    """
    resv = vma_resv_map(vma)
    if resv is None:
        return True
    added = region_add(resv, index, index + 1) == 1
    return added if vma.vm_flags & VM_SHARED else not added


def vma_has_reserves(vma: VmArea, missing: bool) -> bool:
    """The page that `vma` is about to have was promised to it."""
    if vma.vm_flags & VM_NORESERVE:
        # Another process has promised it to the file; whoever allocates it uses that up.
        return bool(vma.vm_flags & VM_SHARED) and not missing
    return vma_resv_map(vma) is not None and not missing


def alloc_hugetlb_folio(vma: VmArea, address: int, *, avoid_reserve: bool = False) -> Folio | None:
    """A huge page for `address`, with one reference; None if there is none, or only such as are promised to
    others.

    With `avoid_reserve` what is promised to `vma` itself is left for later, too. Needs the page's fault mutex.
    Kernel: alloc_huge_page(), without subpools and surplus pages.
    """
    file = hstate_file(vma)
    index = linear_page_index(vma, address)
    missing = vma_needs_reservation(vma, index)
    promised = not (avoid_reserve or missing) and vma_has_reserves(vma, missing)
    folio = dequeue_hugetlb_folio(vma.vm_mm, file, promised=promised)
    if folio is None:
        return None
    still_missing = vma_commit_reservation(vma, index)
    # Counted as a page that nobody was promised, and promised by now to the file, which has it: the promise
    # is used up.
    if missing and not still_missing:
        adjust_for_reservation_race(file)
    trace("hugetlb_alloc", mm=vma.vm_mm.name, addr=hex(address), page=folio.name, promised=promised)
    return folio


def adjust_for_reservation_race(file: HugetlbFile) -> None:
    """Another task has promised the page to the file after we looked and before we had it. The page is allocated
    now, so one promise less is open.
    """
    hugetlb_acct_memory(file, -1)


def dequeue_hugetlb_folio(mm: MmStruct, file: HugetlbFile, *, promised: bool) -> Folio | None:
    """Take a page out of the pool, one that is `promised`, or one that nobody was promised; None if there is
    none.
    """
    with file.hugetlb_lock:
        # One that nobody was promised: there must be more free than promised.
        if file.free_huge_pages - (0 if promised else file.resv_huge_pages) < 1:
            return None
        file.free_huge_pages -= 1
        file.resv_huge_pages -= promised
    folio = alloc_folio(mm.memory)
    if folio is None:
        with file.hugetlb_lock:
            file.free_huge_pages += 1
            file.resv_huge_pages += promised
        return None
    folio.hugetlb = file
    # Until somebody has mapped it: if it is dropped before, `free_huge_page` promises it again.
    folio.restore_reserve = promised
    folio.token = 0
    return folio


def restore_reserve_on_error(vma: VmArea, address: int, folio: Folio) -> None:
    """`folio` was allocated for `address`, and is not used after all: make the map what it was. Freeing the page
    does the rest.
    """
    resv = vma_resv_map(vma)
    if resv is None:
        return
    index = linear_page_index(vma, address)
    if folio.restore_reserve:
        # The promise comes back with the page: a private mapping's is in force by not being in its map.
        if not vma.vm_flags & VM_SHARED:
            region_del(resv, index, index + 1)
    elif vma.vm_flags & VM_SHARED:
        region_del(resv, index, index + 1)


def put_unused(vma: VmArea, address: int, folio: Folio) -> None:
    """The end of a page that was allocated and not used."""
    restore_reserve_on_error(vma, address, folio)
    folio_put(vma.vm_mm.memory, folio)


def hugetlb_report_meminfo(file: HugetlbFile) -> tuple[int, int]:
    """HugePages_Free and HugePages_Rsvd of /proc/meminfo."""
    with file.hugetlb_lock:
        return file.free_huge_pages, file.resv_huge_pages
