"""The zero page: what anonymous memory reads until somebody writes to it. Kernel: mm/memory.c, v6.1.

One frame full of zeroes is there for all of the machine. A read fault maps it
(`vm.access.page_fault.do_anonymous_page`), and the first store copies it (`vm.faults.cow.do_wp_page`). It is
nobody's: such an entry is special (pte_special()), so it has no mapcount, no reference, no anon_vma and no place in
the resident set, and it is never moved, swapped or merged. Code that wants the page of an entry asks
`vm_normal_page`, as there.

The huge zero page (`vm.objects.folio.HugeZero`, `vm.huge.huge_zero`) is made when the first read fault wants it, and
freed by its shrinker when no address space uses it any more.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE
from sugarbush.concurrency.lowlevel import peek
from sugarbush.vm.objects import ZERO_PFN, Folio, Memory, Pmd, Present


def is_zero_pfn(pte: Present) -> bool:
    """The entry maps the zero page."""
    return pte.pfn == ZERO_PFN


def vm_normal_page(memory: Memory, pte: Present) -> Folio | None:
    """The page of an entry of the lower level that counts what maps it; None for the zero page."""
    # Code that takes the frame by its number instead counts, moves or frees what is everybody's.
    return None if pte.pfn == ZERO_PFN else memory.mem_map[pte.pfn]


def pfn_to_page(memory: Memory, pfn: int) -> Folio:
    """The frame of that number, be it the zero page: what a processor finds by an entry, or GUP, which looks at
    it.
    """
    return memory.zero_page if pfn == ZERO_PFN else memory.mem_map[pfn]


def is_huge_zero_pmd(memory: Memory, pmd: Pmd) -> bool:
    """The upper entry maps the huge zero page: its frame is that of the page as it stands now (huge_zero_pfn)."""
    pfn = getattr(pmd, "pfn", None)
    page: Folio | None = None if pfn is None else READ_ONCE(memory.huge_zero, "page")
    return page is not None and page.pfn == pfn


def is_huge_zero_frame(memory: Memory, folio: Folio) -> bool:
    """`folio` is the huge zero page or a part of it; for looks from outside."""
    page = peek(memory.huge_zero, "page")
    return page is not None and folio.head is page
