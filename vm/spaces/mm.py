"""What is done with an address space (`vm.objects.mm_types.MmStruct`): it is kept, locked, and its pages are counted.

Kernel: include/linux/mmap_lock.h and include/linux/mm.h, v6.1.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import KmemCache, atomic_dec_and_test, atomic_inc, might_sleep
from sugarbush.concurrency.lowlevel import Operation, perform
from sugarbush.vm.objects import MM_ANONPAGES, MM_FILEPAGES, Folio, MmStruct, folio_test_anon

SINGLE_DEPTH_NESTING = 1

mm_cache = KmemCache("mm_struct", MmStruct, object_size=1024)


def mmgrab(mm: MmStruct) -> None:
    """Keep the object, though not what it maps; `mm` must not be gone yet. Kernel: include/linux/sched/mm.h."""
    atomic_inc(mm, "mm_count")


def mmdrop(mm: MmStruct) -> None:
    """The end of `mmgrab`, and of the process itself; the last one frees the object, which may sleep."""
    if atomic_dec_and_test(mm, "mm_count"):
        might_sleep()
        mm_cache.free(mm)


def _add_rss(mm: MmStruct, _task: Any, arg: tuple[str, int]) -> None:
    member, value = arg
    mm.rss[member] += value


def _read_rss(mm: MmStruct, _task: Any, member: str) -> int:
    # The kernel counts for each task or CPU by itself, and the sum may be below zero for a moment.
    return max(0, mm.rss[member])


ADD_MM_COUNTER = Operation("add_mm_counter", field="rss_stat", effect=_add_rss, local=True)
GET_MM_COUNTER = Operation("get_mm_counter", field="rss_stat", effect=_read_rss, local=True)


def add_mm_counter(mm: MmStruct, member: str, value: int) -> None:
    """Count `value` pages more (or fewer) as resident."""
    if value:
        perform(ADD_MM_COUNTER, mm, (member, value))


def get_mm_counter(mm: MmStruct, member: str) -> int:
    """Resident pages of one kind, as /proc/PID/status shows them; never negative there."""
    count: int = perform(GET_MM_COUNTER, mm, member)
    return count


def check_stable_address_space(mm: MmStruct) -> bool:
    """An empty entry is one that nobody has written to; needs its page-table lock.

    Else the OOM reaper may have emptied it: a thread of the victim that still runs would read zeroes where it wrote
    something else, and might pass that on before it dies. It gets SIGBUS. Kernel: include/linux/oom.h.
    """
    # Asked under the lock under which the entry was found empty: the reaper sets the flag before it empties
    # the first one.
    return not mm.unstable


def mm_counter(folio: Folio) -> str:
    """Which counter a page belongs to."""
    return MM_ANONPAGES if folio_test_anon(folio) else MM_FILEPAGES


def mmap_read_lock(mm: MmStruct) -> None:
    """Lock the address space for looking at it."""
    mm.mmap_lock.down_read()


def mmap_read_unlock(mm: MmStruct) -> None:
    """The end of `mmap_read_lock`, or of a downgraded write lock."""
    mm.mmap_lock.up_read()


def mmap_write_lock(mm: MmStruct) -> None:
    """Lock the address space for changing it."""
    mm.mmap_lock.down_write()
    # Under mmap_lock, as `end_write_all` is: the number that says which VMAs are locked is written by its
    # holder only.
    mm.era.vma_locks.begin_write(mm)


def mmap_write_trylock(mm: MmStruct) -> bool:
    """As `mmap_write_lock`, if nobody has it and nobody waits."""
    taken = mm.mmap_lock.down_write_trylock()
    if taken:
        mm.era.vma_locks.begin_write(mm)
    return taken


def mmap_write_lock_nested(mm: MmStruct) -> None:
    """As `mmap_write_lock`, of a child that nobody knows yet, under the lock of its parent."""
    mm.mmap_lock.down_write(SINGLE_DEPTH_NESTING)
    mm.era.vma_locks.begin_write(mm)


def mmap_write_unlock(mm: MmStruct) -> None:
    """The end of `mmap_write_lock`, and of all write locks on single VMAs."""
    # First the VMAs, then mmap_lock. The other way round the next writer could lock VMAs by the number of
    # this section, and they would be unlocked when this task goes on to the next number.
    mm.era.vma_locks.end_write_all(mm)
    mm.mmap_lock.up_write()


def mmap_write_downgrade(mm: MmStruct) -> None:
    """From changing to looking, with no writer in between; the write locks on single VMAs end."""
    # A reader of mmap_lock must not keep faults out; what was changed is done by now.
    mm.era.vma_locks.end_write_all(mm)
    mm.mmap_lock.downgrade_write()
