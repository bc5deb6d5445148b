"""What an address space asks of the locks of its VMAs, whichever kernel they are of.

An address space keeps its locks (`vm.objects.mm_types.Era`), and they are given it and its VMAs. So that the one can
stand below the other, what is asked leaves open what the two are: `Mm_contra` is `MmStruct`, and `Vma` is `VmArea`.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from sugarbush.concurrency import KmemCache, RwSemaphore

Mm_contra = TypeVar("Mm_contra", contravariant=True)
Vma = TypeVar("Vma")


class VmaLocks(Protocol[Mm_contra, Vma]):
    """What an address space asks of the locks of its VMAs, and of what they need to be sure of."""

    @property
    def cache(self) -> KmemCache[Vma]:
        """Where VMAs come from."""

    def make(self) -> RwSemaphore | None:
        """The lock of a new VMA."""

    # Called right after mmap_lock was taken, and `end_write_all` right before it is given back or downgraded:
    # what these write is written under it.
    def begin_write(self, mm: Mm_contra) -> None:
        """mmap_lock has been taken for writing."""

    def start_write(self, vma: Vma) -> None:
        """Lock `vma` for changing it, until mmap_lock is given back; needs mmap_lock for writing."""

    def end_write_all(self, mm: Mm_contra) -> None:
        """Unlock all VMAs; needs mmap_lock for writing."""

    def mark_attached(self, vma: Vma) -> None:
        """`vma` is new, and about to be in the tree, or is in it as of now."""

    def mark_detached(self, vma: Vma) -> None:
        """`vma`, which is locked, is in the tree no more."""

    def held_by_me(self, vma: Vma) -> bool:
        """The calling task has `vma` locked for looking at it."""

    def free(self, vma: Vma) -> None:
        """Free `vma` when nobody can look at it any more."""

    def drop_mm(self, mm: Mm_contra) -> None:
        """`mm` has been torn down, and its process needs it no more."""
