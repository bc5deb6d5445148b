"""One machine: its frames and its address spaces."""

from __future__ import annotations

from concurrency import KmemCache, domain
from lockdep.gfp import GFP_KERNEL, GFP_NOFAIL
from vm.folio import Memory
from vm.mm import MmStruct, VmaIndex, maple_tree

mm_cache = KmemCache("mm_struct", MmStruct, object_size=1024)


class Machine:
    """What is booted once an execution; `domain(Machine)` is the machine of the execution that is going on."""

    def __init__(self) -> None:
        self.memory = Memory(0)
        self.mms: list[MmStruct] = []
        self.index: VmaIndex = maple_tree

    def add_mm(self, name: str, start_brk: int) -> MmStruct:
        """A new, empty address space whose heap begins at `start_brk`."""
        mm = mm_cache.alloc(GFP_KERNEL | GFP_NOFAIL, self.memory, name, start_brk, self.index)
        assert mm is not None
        self.mms.append(mm)
        return mm

    def remove_mm(self, mm: MmStruct) -> None:
        """Forget an address space that was torn down."""
        self.mms.remove(mm)
        mm_cache.free(mm)


def boot(frames: int, index: VmaIndex = maple_tree) -> Machine:
    """The machine of this execution, with so many frames of 4096 bytes and no address space yet.

    `index` is the component that holds the VMAs: `maple_tree` since v6.1, `rbtree_and_list` before.
    """
    machine = domain(Machine)
    machine.memory = Memory(frames)
    machine.mms.clear()
    machine.index = index
    return machine
