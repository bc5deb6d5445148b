"""One machine: its frames and its address spaces."""

from __future__ import annotations

from sugarbush.concurrency import ConcurrencyError
from sugarbush.concurrency.lowlevel import domain, peek
from sugarbush.lockdep.model import GFP_KERNEL, GFP_NOFAIL
from sugarbush.vm.objects import PTRS_PER_PTE, Era, Memory, MmStruct
from sugarbush.vm.spaces import mm_cache
from sugarbush.vm.vmas.era import V6_1, era_named

_MOST_PTRS = 512


class Machine:
    """What is booted once an execution; `domain(Machine)` is the machine of the execution that is going on."""

    def __init__(self) -> None:
        self.memory = Memory(0)
        self.mms: list[MmStruct] = []
        self.era: Era = V6_1

    def add_mm(self, name: str, start_brk: int) -> MmStruct:
        """A new, empty address space whose heap begins at `start_brk`."""
        mm = mm_cache.alloc(GFP_KERNEL | GFP_NOFAIL, self.memory, name, start_brk, self.era)
        assert mm is not None
        self.mms.append(mm)
        return mm

    def dup_mm(self, old: MmStruct, name: str) -> MmStruct | None:
        """A new address space without VMAs, with the borders of that of `old`; None without memory.

        As in the kernel, whose dup_mm() copies the whole object, no lock is held: a brk() beside it may be missed.
        """
        mm = mm_cache.alloc(GFP_KERNEL, self.memory, name, old.start_brk, old.era)
        if mm is not None:
            # No operation: as there, it races with a brk() of the parent, and the child may get the old
            # value.
            mm.brk = peek(old, "brk")
            mm.mmap_base = old.mmap_base
            self.mms.append(mm)
        return mm

    def remove_mm(self, mm: MmStruct) -> None:
        """Forget an address space that was torn down."""
        self.mms.remove(mm)
        mm.era.vma_locks.drop_mm(mm)


def boot(frames: int, era: str = V6_1.name, nodes: int = 1, ptrs_per_pte: int = PTRS_PER_PTE) -> Machine:
    """The machine of this execution, with so many frames of 4096 bytes on so many nodes, and no address space yet.

    `era` names the kernel whose components its address spaces are made of: "5.19", "6.1", "6.6" or "6.15". A
    page-table page has `ptrs_per_pte` entries, and a huge page as many pages: a power of two from 2 to 512 (x86-64).
    An era that there is not, or another number, raises `ConcurrencyError`.
    """
    if not 2 <= ptrs_per_pte <= _MOST_PTRS or ptrs_per_pte & ptrs_per_pte - 1:
        raise ConcurrencyError(
            f"a page-table page cannot have {ptrs_per_pte} entries: it is a power of two from 2 to {_MOST_PTRS}"
        )
    machine = domain(Machine)
    machine.era = era_named(era)
    machine.memory = Memory(frames, nodes, ptrs_per_pte)
    machine.mms.clear()
    return machine
