"""What the entries of page tables say, and the page-table pages that hold them.

Kernel: arch/x86/include/asm/pgtable_types.h and include/linux/swapops.h, v6.1. An entry is None, `Present`,
`Migration`, `Swap` or `Marker`. At the upper level (PMD) it is a `PageTable`, or None, or a leaf: `Present` and
`Migration` there mean a huge page. An entry keeps the generation of its frame, which no kernel has: the invariants use
it to tell a frame from its next owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sugarbush.concurrency import Spinlock
from sugarbush.vm.objects.layout import PAGE_SIZE, ZERO_PFN

PTE_READ = 0x1
PTE_WRITE = 0x2
PTE_EXEC = 0x4
# Only in what is not present. While an entry is present the page itself says whether it is exclusive.
PTE_SWP_EXCLUSIVE = 0x8
PTE_YOUNG = 0x20
PTE_DIRTY = 0x40
PTE_UFFD_WP = 0x400
PTE_SOFT_DIRTY = 0x800
PTE_RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC
PTE_KEPT = PTE_YOUNG | PTE_DIRTY | PTE_UFFD_WP | PTE_SOFT_DIRTY
"""What an entry keeps while its page is moved."""
PTE_SWP_KEPT = PTE_UFFD_WP | PTE_SOFT_DIRTY
"""What it keeps while its page is swapped out: pte_swp_mkuffd_wp(), pte_swp_mksoft_dirty()."""
_LETTERS = ((PTE_WRITE, "W"), (PTE_DIRTY, "D"), (PTE_YOUNG, "A"), (PTE_UFFD_WP, "U"), (PTE_SOFT_DIRTY, "S"))


@dataclass(frozen=True, slots=True)
class Present:
    """The page is mapped; `bits` say for what, and what was done to it."""

    pfn: int
    generation: int
    bits: int = PTE_READ

    @property
    def write(self) -> bool:
        """A store needs no fault."""
        return bool(self.bits & PTE_WRITE)

    @property
    def protnone(self) -> bool:
        """It gives no access: the VMA permits none, or it is a hint (`vm.reclaim.numa`). Kernel: pte_protnone()."""
        return not self.bits & PTE_RIGHTS

    @property
    def dirty(self) -> bool:
        """There was a store since the bit was cleared."""
        return bool(self.bits & PTE_DIRTY)

    def having(self, bits: int) -> Present:
        """The same with these bits set."""
        return self if self.bits & bits == bits else Present(self.pfn, self.generation, self.bits | bits)

    def lacking(self, bits: int) -> Present:
        """The same with these bits clear."""
        return Present(self.pfn, self.generation, self.bits & ~bits) if self.bits & bits else self

    def __str__(self) -> str:
        letters = "".join(letter for bit, letter in _LETTERS if self.bits & bit) + "N" * self.protnone
        page = "the zero page" if self.pfn == ZERO_PFN else f"pfn{self.pfn}"
        return page + (f"({letters})" if letters else "")


@dataclass(frozen=True, slots=True)
class Migration:
    """The page is being moved; whoever needs it waits for the folio lock of the old frame.

    `bits` are those of the entry of before, and whether the page was exclusive (PTE_SWP_EXCLUSIVE).
    """

    # Of the old frame. As long as this stands there, that frame is locked and has a reference of whoever
    # moves it; else the entry was left behind (brk-false-vma, Z01, and every bug of that family).
    pfn: int
    generation: int
    bits: int = 0

    @property
    def write(self) -> bool:
        """A store needed no fault; kernel: is_writable_migration_entry()."""
        return bool(self.bits & PTE_WRITE)

    def __str__(self) -> str:
        return f"migration(pfn{self.pfn}{' W' if self.write else ''})"


@dataclass(frozen=True, slots=True)
class Swap:
    """The page was written to a slot of the swap area. `bits` are those that outlive it."""

    slot: int
    bits: int = 0

    def __str__(self) -> str:
        return f"swap({self.slot})"


@dataclass(frozen=True, slots=True)
class Marker:
    """Nothing is mapped, but the page of the file is protected by userfaultfd; kernel: PTE_MARKER_UFFD_WP, v5.19.

    A page of a file leaves its entry when it is reclaimed or truncated, and the protection must outlive that. What is
    anonymous has it in the swap entry. It has no count, no page, and no slot.
    """

    bits: int = PTE_UFFD_WP

    def __str__(self) -> str:
        return "marker(U)"


# Entries never change, they are replaced: so one that was read without the lock can be compared with what is
# there under it. That is pte_same(), with the generation of the frame besides. It hides nothing: where the
# frames could differ, either a reference keeps the one, or the page is looked up anew under the lock. A slot
# has no generation, and there the same entry may mean another page (swap-in-other-slot, Z30;
# swap-in-without-cache, Z29).
Pte = Present | Migration | Swap | Marker | None


class PageTable:
    """A page-table page: so many `entries` as the machine was booted with, and their lock.

    `pt_share_count` says how many use it besides the first (`vm.huge.hugetlb_share`).
    """

    __slots__ = ("entries", "name", "pt_share_count", "ptl")
    PLACE_NAMES: ClassVar = {"entries": "pte"}

    def __init__(self, name: str, entries: int) -> None:
        self.name = name
        # With split locks as v6.1 has them: one for each page-table page, so two are taken with a subclass
        # (fork, mremap).
        self.ptl = Spinlock("ptlock")
        self.entries: list[Pte] = [None] * entries
        self.pt_share_count = 0

    def index(self, address: int) -> int:
        """Which of the entries maps `address`; kernel: pte_index()."""
        return address // PAGE_SIZE % len(self.entries)


Pmd = PageTable | Present | Migration | None
