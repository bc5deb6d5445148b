"""What must be true of the model between operations; the checks look from outside, in `quiet()`, and change nothing.

Each gives None, or one sentence that says what is wrong. Their names are those that ``--without`` takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vm.anon_vma import AnonVma
from vm.folio import Memory
from vm.layout import PAGE_SHIFT, PAGE_SIZE, PMD_SIZE
from vm.mm import MmStruct
from vm.pgtable import Migration, PageTable, Present


def tables(mm: MmStruct) -> Iterator[tuple[int, PageTable]]:
    """The page-table pages, and where the range of each begins."""
    for index, pmd in sorted(mm.pmds.items()):
        if isinstance(pmd, PageTable):
            yield index * PMD_SIZE, pmd


def leaf_entries(mm: MmStruct) -> Iterator[tuple[int, Present | Migration]]:
    """The addresses and contents of all entries that name a frame."""
    for start, table in tables(mm):
        for number, pte in enumerate(table.entries):
            if isinstance(pte, (Present, Migration)):
                yield start + number * PAGE_SIZE, pte


def coverage(mms: Iterable[MmStruct], memory: Memory) -> str | None:
    """I1: while the rmap lock is free, every entry of an anonymous page is found through the page's anon_vma."""
    for mm in mms:
        for address, pte in leaf_entries(mm):
            folio = memory.mem_map[pte.pfn]
            anon_vma = folio.mapping
            if folio.generation != pte.generation or not isinstance(anon_vma, AnonVma):
                continue
            if anon_vma.root.rwsem.free and not _is_found(mm, anon_vma, folio.index, address):
                return (
                    f"no VMA in the anon_vma interval tree of {folio.name} covers {mm.name}:{address:#x}, "
                    f"whose entry is {pte}: an rmap walk would miss it"
                )
    return None


def _is_found(mm: MmStruct, anon_vma: AnonVma, pgoff: int, address: int) -> bool:
    for _, _, avc in anon_vma.rb_root:
        vma = avc.vma
        offset = (pgoff - vma.vm_pgoff) << PAGE_SHIFT
        if vma.vm_mm is mm and 0 <= offset < vma.vm_end - vma.vm_start and vma.vm_start + offset == address:
            return True
    return False


def vma_index(mm: MmStruct) -> str | None:
    """I4: the tree's ranges are those of its VMAs, and map_count counts them; for when mmap_lock is free."""
    count = 0
    for first, last, vma in mm.mm_mt.ranges():
        count += 1
        if (first, last + 1) != (vma.vm_start, vma.vm_end):
            return f"{mm.name}: the tree holds {vma.name} at [{first:#x}, {last + 1:#x})"
    if count != mm.map_count:
        return f"{mm.name}: map_count is {mm.map_count}, the tree holds {count} VMAs"
    return None


def mapcounts(mms: Iterable[MmStruct], memory: Memory) -> str | None:
    """I7: each frame's mapcount is the number of entries that map it; pages whose table is locked may be in between."""
    mapped = [0] * len(memory.mem_map)
    for mm in mms:
        if any(not table.ptl.free for _, table in tables(mm)):
            return None
        for _, pte in leaf_entries(mm):
            mapped[pte.pfn] += isinstance(pte, Present)
    for folio, count in zip(memory.mem_map, mapped, strict=True):
        if folio.mapcount != count:
            return f"{folio.name}: mapcount is {folio.mapcount}, {count} entries map it"
    return None
