"""The address spaces that may have entries in swap, for swapoff, and how one is kept from being torn down
meanwhile.

Kernel: init_mm.mmlist and mmlist_lock, mmget_not_zero() and mmput(), v6.1. An address space comes into the list before
its first swap entry is written, under the lock of the page table, and leaves it after its end.

Simpler here: an address space that ends waits for whoever still uses it (`mm_users`), where the kernel lets the last
user tear it down. Nothing is counted on a machine without swap, for nobody would look.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import READ_ONCE, might_sleep
from sugarbush.concurrency.lowlevel import Operation, peek, perform, poke
from sugarbush.vm.objects import Memory, MmStruct


def mmlist_add(mm: MmStruct, behind: MmStruct | None = None) -> None:
    """Put `mm` where swapoff finds it: at the head of the list, or right behind its parent, which is there.

    The first look takes no lock. A walk that stands at the parent comes to the child next; one that has passed the head
    misses `mm`, and swapoff walks once more as long as something is in use. Needs the lock of the page table that the
    entry is written to. Kernel: try_to_unmap_one(), copy_nonpresent_pte().
    """
    if READ_ONCE(mm, "mmlist"):
        return
    memory = mm.memory
    # The innermost of the locks here: a page-table lock is held.
    with memory.mmlist_lock:
        if not READ_ONCE(mm, "mmlist"):
            mm.mmlist = True
            found = [place for place, one in enumerate(memory.mmlist) if one is behind]
            memory.mmlist.insert(found[0] + 1 if found else 0, mm)


def mmlist_del(mm: MmStruct) -> None:
    """Take `mm`, which nobody can get any more (`mmget_not_zero`), out of the list. Kernel: __mmput()."""
    if READ_ONCE(mm, "mmlist"):
        memory = mm.memory
        with memory.mmlist_lock:
            memory.mmlist = [one for one in memory.mmlist if one is not mm]
            mm.mmlist = False


def drain_mmlist(memory: Memory) -> None:
    """Nothing is in swap any more, so nobody need be found."""
    # An address space that stays in the list for nothing is walked by the next swapoff as well; there is no
    # other harm in it.
    with memory.mmlist_lock:
        for mm in memory.mmlist:
            mm.mmlist = False
        memory.mmlist = []


def _inc_not_zero(mm: MmStruct, _task: Any, _arg: Any) -> bool:
    users: int = peek(mm, "mm_users")
    if users:
        poke(mm, "mm_users", users + 1)
    return bool(users)


def _dec(mm: MmStruct, _task: Any, _arg: Any) -> None:
    poke(mm, "mm_users", peek(mm, "mm_users") - 1)


def _is_last(mm: MmStruct, _task: Any) -> bool:
    return bool(peek(mm, "mm_users") == 1)


def _end(mm: MmStruct, _task: Any, _arg: Any) -> None:
    poke(mm, "mm_users", 0)


_ORDER = ("mm_users",)
# All three acquire and release, as atomics that give a value do: what the last user did comes before the end.
GET_NOT_ZERO = Operation(
    "mmget_not_zero", field="mm_users", effect=_inc_not_zero, acquires=_ORDER, releases=_ORDER, local=True
)
PUT = Operation(
    "mmput", field="mm_users", effect=_dec, wakes=True, acquires=_ORDER, releases=_ORDER, local=True
)
LAST_PUT = Operation(
    "mmput", field="mm_users", ready=_is_last, effect=_end, acquires=_ORDER, releases=_ORDER, local=True
)


def mmget_not_zero(mm: MmStruct) -> bool:
    """Keep the address space from being torn down, unless that has begun. Needs mmlist_lock, or to be its process."""
    return bool(perform(GET_NOT_ZERO, mm))


def mmput(mm: MmStruct) -> None:
    """The end of a `mmget_not_zero` that gave True; the process itself goes by `mmput_last`."""
    perform(PUT, mm)


def mmput_last(mm: MmStruct) -> None:
    """The process ends: wait until nobody else uses its address space; from then on nobody gets it any more."""
    might_sleep()
    perform(LAST_PUT, mm)
