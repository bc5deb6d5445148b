"""What must be true of the model between operations; the checks look from outside, in `quiet()`, and change nothing.

Each gives None, or one sentence that says what is wrong. Their names are those that ``--without`` takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from sugarbush.concurrency import RwSemaphore
from sugarbush.vm.frames import is_huge_zero_frame, is_zero_pfn, pfn_to_page
from sugarbush.vm.objects import (
    PAGE_SHIFT,
    PAGE_SIZE,
    PTE_READ,
    PTE_WRITE,
    SWP_USED,
    TASK_SIZE,
    VM_ACCESS_FLAGS,
    VM_NONLINEAR,
    VM_WRITE,
    AddressSpace,
    AnonVma,
    Folio,
    Mapping,
    Memory,
    Migration,
    MmStruct,
    PageTable,
    Pmd,
    Present,
    Swap,
    VmArea,
    page_align,
)
from sugarbush.vm.spaces import vma_is_temporary_stack


def _pmds(mm: MmStruct) -> list[tuple[int, Pmd]]:
    """The upper entries, and for those that khugepaged has taken away what they were."""
    # Sorted: what a check says first must not depend on the order of faults.
    return sorted((mm.pmds | mm.detached).items() if mm.detached else mm.pmds.items())


def tables(mm: MmStruct) -> Iterator[tuple[int, PageTable]]:
    """The page-table pages, and where the range of each begins."""
    for index, pmd in _pmds(mm):
        if isinstance(pmd, PageTable):
            yield index * mm.pmd_size, pmd


class Part(NamedTuple):
    """Which entries to look at: those that meet every condition that is given."""

    table: PageTable | None = None
    """They are in this page-table page; no other one is read."""
    folio: Folio | None = None
    """They name it, or a page of it."""
    lock: RwSemaphore | None = None
    """It is the lock of the rmap tree that they are to be found by; that of no other tree is read."""


EVERYTHING = Part()


def _tables_at_rest(mm: MmStruct) -> bool:
    """Nobody holds a lock of the page tables, so they are not in between."""
    return mm.page_table_lock.unheld and all(table.ptl.unheld for _, table in tables(mm))


def leaf_entries(mm: MmStruct, table: PageTable | None = None) -> Iterator[tuple[int, Present | Migration]]:
    """The addresses and contents of all entries that name a frame; a huge page counts as one entry for each page.

    Those of `table` only, if it is given.
    """
    for number, pmd in _pmds(mm):
        if table is not None and pmd is not table:
            continue
        start = number * mm.pmd_size
        for offset in range(mm.memory.ptrs_per_pte):
            if isinstance(pmd, PageTable):
                pte = pmd.entries[offset]
                if isinstance(pte, (Present, Migration)):
                    yield start + offset * PAGE_SIZE, pte
            elif isinstance(pmd, (Present, Migration)):
                page = mm.memory.mem_map[pmd.pfn + offset]
                # A huge entry has the generation of its head. Tails have counts of their own, so the distance
                # to now is carried over.
                stale = mm.memory.mem_map[pmd.pfn].generation - pmd.generation
                yield start + offset * PAGE_SIZE, type(pmd)(page.pfn, page.generation - stale, pmd.bits)


def coverage(mms: Iterable[MmStruct], memory: Memory, part: Part = EVERYTHING) -> str | None:
    """I1: while the rmap lock is free, every entry of a page is found through the page's anon_vma or file.

    Of the entries that `part` says; nothing is read but what these depend on, and where they are.
    """
    for mm in mms:
        for address, pte in leaf_entries(mm, part.table):
            folio = pfn_to_page(memory, pte.pfn)
            if part.folio is not None and folio is not part.folio and folio.head is not part.folio:
                continue
            mapping = folio.mapping
            # Of a page that was freed the frame says nothing any more; other checks speak of that.
            if folio.generation != pte.generation or mapping is None:
                continue
            if isinstance(mapping, AnonVma):
                lock = mapping.root.rwsem
            else:
                assert isinstance(mapping, AddressSpace)
                lock = mapping.i_mmap_rwsem
            if part.lock is not None and lock is not part.lock:
                continue
            # Whenever the lock is free, not only when a walk comes: a migration that has made its first walk
            # may make the second at any time. So the cause is seen, with no migration about (brk-false-vma,
            # Z01; vma-expand-no-lock, Z03a).
            if lock.unheld and not _is_found(mm, _tree(mapping, folio.index), folio.index, address):
                return (
                    f"no VMA in the {'anon_vma' if mapping.anon else 'i_mmap'} interval tree of {folio.name} covers "
                    f"{mm.name}:{address:#x}, whose entry is {pte}: an rmap walk would miss it"
                )
    return None


def _tree(mapping: Mapping, pgoff: int) -> Iterator[VmArea]:
    """The VMAs of an rmap tree that a search for page `pgoff` looks at."""
    if isinstance(mapping, AnonVma):
        # By the range of when it was inserted, as the search in the kernel leaves sub-trees out;
        # `interval_tree` sees to it that this is the range of now.
        return (avc.vma for _, last, avc in mapping.rb_root if last >= pgoff)
    assert isinstance(mapping, AddressSpace)
    return chain((vma for _, last, vma in mapping.i_mmap if last >= pgoff), mapping.i_mmap_nonlinear)


def _is_found(mm: MmStruct, vmas: Iterable[VmArea], pgoff: int, address: int) -> bool:
    """A VMA says that it maps page `pgoff` at `address`; the stack of an exec, which is being moved, need not,
    nor a VMA with an order of its own (`vm.reclaim.nonlinear`).
    """
    for vma in vmas:
        offset = (pgoff - vma.vm_pgoff) << PAGE_SHIFT
        exempt = vma.vm_flags & VM_NONLINEAR or vma_is_temporary_stack(vma)
        if vma.vm_mm is mm and exempt and vma.vm_start <= address < vma.vm_end:
            return True
        if vma.vm_mm is mm and 0 <= offset < vma.vm_end - vma.vm_start and vma.vm_start + offset == address:
            return True
    return False


def rights(mm: MmStruct) -> str | None:
    """I5, I10: nothing is mapped outside of all VMAs, or for more than its VMA permits; for when mmap_lock is free.

    The same holds for the translations that CPUs keep.
    """
    vmas = [vma for _, _, vma in mm.mm_mt.ranges()]
    seen = [("maps", address, pte) for address, pte in leaf_entries(mm)]
    for task, cpu in mm.tlb.items():
        # A translation outlives its entry until the flush, so what a CPU keeps is asked for by itself.
        seen += [
            (f"the CPU of {task.name} has a translation of", address, pte) for address, pte in cpu.items()
        ]
    for how, address, pte in seen:
        flags = next((vma.vm_flags for vma in vmas if vma.vm_start <= address < vma.vm_end), None)
        if flags is None:
            return f"{mm.name}: {how} {address:#x} to {pte}, where no VMA is"
        if not _permitted(pte, flags):
            return f"{mm.name}: {how} {address:#x} to {pte}, which its VMA does not permit"
    return None


def _permitted(pte: Present | Migration, flags: int) -> bool:
    if pte.bits & PTE_WRITE and not flags & VM_WRITE:
        return False
    return isinstance(pte, Migration) or not pte.bits & PTE_READ or bool(flags & VM_ACCESS_FLAGS)


def huge_in_vma(mm: MmStruct) -> str | None:
    """I6: a huge page lies wholly inside one VMA; for when mmap_lock is free."""
    for number, pmd in sorted(mm.pmds.items()):
        start = number * mm.pmd_size
        if not isinstance(pmd, PageTable) and not any(
            vma.vm_start <= start and start + mm.pmd_size <= vma.vm_end for _, _, vma in mm.mm_mt.ranges()
        ):
            return f"{mm.name}: the huge page at {start:#x}, {pmd}, lies in no VMA as a whole"
    return None


def shared_in_vma(mms: Iterable[MmStruct], memory: Memory, part: Part = EVERYTHING) -> str | None:
    """I6: while i_mmap_rwsem is free, a shared page-table page lies wholly inside one VMA of each address space
    that shares it.

    The file is that of the pages in it. A VMA that is being unmapped is still in the file's tree. Of those
    that `part` says, by the page-table page or the lock.
    """
    for mm in mms:
        for start, table in tables(mm):
            if part.table is not None and table is not part.table:
                continue
            # By the pages in it: a table does not say whose it is, and an empty one does no harm.
            mapping = _file_of(table, memory) if table.pt_share_count else None
            if mapping is None or (part.lock is not None and mapping.i_mmap_rwsem is not part.lock):
                continue
            if not mapping.i_mmap_rwsem.unheld:
                continue
            if not any(
                vma.vm_mm is mm and vma.vm_start <= start and start + mm.pmd_size <= vma.vm_end
                for _, _, vma in mapping.i_mmap
            ):
                return f"{mm.name}: the shared {table.name}, mapped at {start:#x}, lies in no VMA as a whole"
    return None


def _file_of(table: PageTable, memory: Memory) -> AddressSpace | None:
    for pte in table.entries:
        mapping = pfn_to_page(memory, pte.pfn).mapping if isinstance(pte, Present) else None
        if isinstance(mapping, AddressSpace):
            return mapping
    return None


def stale_translations(mms: Iterable[MmStruct], folio: Folio) -> str | None:
    """I8: no CPU has a translation of a page that was freed a moment ago."""
    for mm in mms:
        for task, cpu in mm.tlb.items():
            for address, pte in cpu.items():
                # The generation has just gone up: a translation that says the old one is of the page that was
                # freed.
                if pte.pfn == folio.pfn and pte.generation < folio.generation:
                    return (
                        f"{folio.name} is freed while the CPU of {task.name} has a translation of "
                        f"{mm.name}:{address:#x} to it"
                    )
    return None


def swap_counts(mms: Iterable[MmStruct], memory: Memory) -> str | None:
    """I7: each slot is named by as many entries as it counts; pages whose table is locked may be in between."""
    area = memory.swap
    if area is None or not area.flags & SWP_USED:
        return None
    named = [0] * len(area.slots)
    for mm in mms:
        # The count changes before the entry, or after, under the lock of the table.
        if not _tables_at_rest(mm):
            return None
        for _, table in tables(mm):
            for pte in table.entries:
                if isinstance(pte, Swap):
                    named[pte.slot] += 1
    for slot, count in zip(area.slots, named, strict=True):
        if slot.count != count:
            return f"{slot.name}: the count is {slot.count}, {count} entries name it"
    return None


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
    """I7: each frame's mapcount is the number of entries that map it; pages whose table is locked may be in between.

    An entry of a shared page-table page counts once.
    """
    mms = list(mms)
    mapped = [0] * len(memory.mem_map)
    for mm in mms:
        # Entry and count change one after the other under the lock of the table.
        if not _tables_at_rest(mm):
            return None
        for _, pte in leaf_entries(mm):
            if isinstance(pte, Present) and not _is_zero(memory, pte):
                mapped[pte.pfn] += 1
    for table in _met_again(mms):  # These are of files, which have no zero page.
        for entry in table.entries:
            if isinstance(entry, Present):
                mapped[entry.pfn] -= 1
    for folio, count in zip(memory.mem_map, mapped, strict=True):
        mapcount = folio.mapcount + folio.head.entire_mapcount
        if mapcount != count:
            return f"{folio.name}: mapcount is {mapcount}, {count} entries map it"
    return None


def _is_zero(memory: Memory, pte: Present) -> bool:
    """It maps zeroes, which nobody counts."""
    return is_zero_pfn(pte) or is_huge_zero_frame(memory, memory.mem_map[pte.pfn])


def _met_again(mms: Iterable[MmStruct]) -> Iterator[PageTable]:
    """The shared page-table pages, once for each use after the first."""
    # Asked for membership only, never gone through: so the order of addresses decides nothing.
    met: set[int] = set()
    for mm in mms:
        for _, table in tables(mm):
            if table.pt_share_count and id(table) in met:
                yield table
            met.add(id(table))


def mapped(mm: MmStruct) -> list[tuple[int, int]]:
    """The ranges that VMAs map, in bytes; those of neighbours are one."""
    found: list[tuple[int, int]] = []
    for first, last, _ in mm.mm_mt.ranges():
        start = found.pop()[0] if found and found[-1][1] == first else first
        found.append((start, last + 1))
    return found


def heap(mm: MmStruct, brk: int, before: list[tuple[int, int]]) -> str | None:
    """I14: a task that was about to move the end of the heap has moved `mm.brk` and the mapping, or neither.
    `brk` and `before` are what it found.

    For when mmap_lock is not held for writing any more, be it that it was downgraded.
    """
    now, old, new = mapped(mm), page_align(brk), page_align(mm.brk)
    if mm.brk < mm.start_brk:
        return f"{mm.name}: brk is {mm.brk:#x}, below the heap, which begins at {mm.start_brk:#x}"
    low, high = min(old, new), max(old, new)
    # All of the heap between the two ends is mapped now, or none of it, as it should be; and nothing else has
    # changed.
    moved = _clip(now, low, high) == ([(low, high)] if old < new else [])
    if moved and all(_clip(now, *rest) == _clip(before, *rest) for rest in ((0, low), (high, TASK_SIZE))):
        return None
    return f"{mm.name}: brk went from {brk:#x} to {mm.brk:#x}, what is mapped from {_ranges(before)} to {_ranges(now)}"


def _clip(ranges: list[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    inside = ((max(start, low), min(end, high)) for start, end in ranges)
    return [(start, end) for start, end in inside if start < end]


def _ranges(ranges: list[tuple[int, int]]) -> str:
    return " ".join(f"[{start:#x}, {end:#x})" for start, end in ranges) or "nothing"
