"""mm_struct: one address space. Kernel: include/linux/mm_types.h, v6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurrency import (
    Atomic,
    KmemCache,
    Once,
    Operation,
    Plain,
    RwSemaphore,
    Shared,
    Spinlock,
    Unshared,
    atomic_dec_and_test,
    atomic_inc,
    might_sleep,
    perform,
)
from tree import VmaStore
from vm.folio import Folio, Memory, folio_test_anon
from vm.layout import PAGE_SIZE, TASK_SIZE

if TYPE_CHECKING:
    from concurrency import Task
    from vm.era import Era
    from vm.mmu_notifier import NotifierSubscriptions
    from vm.pgtable import PageTable, Pmd, Present
    from vm.uffd_copy import UserfaultfdCtx
    from vm.vma import VmArea

SINGLE_DEPTH_NESTING = 1
MM_ANONPAGES = "MM_ANONPAGES"
MM_FILEPAGES = "MM_FILEPAGES"
MM_SWAPENTS = "MM_SWAPENTS"


class MmStruct(Shared):
    """An address space: `mmap_lock`, the VMAs in `mm_mt`, the heap's borders, page tables and resident set.

    Writing the VMAs, `map_count`, `start_brk` and `brk` needs mmap_lock for writing, reading them for reading.
    `pmds` are the entries of the upper level of the page tables, written under `page_table_lock`; `deposits` the
    page-table pages that huge pages keep for the day when they are split; `detached` those that khugepaged has taken
    away from the processors and not emptied yet, for the invariants; `tlb` what the CPU of each task keeps
    of them, page by page. `tlb_flush_batched` counts the flushes that reclaim has put off, and
    how many of them were made up for (`vm.tlb`). `write_protect_seq` is odd
    while fork copies entries. `ended` is set by `exit_mmap` (mm_users is 0): whoever acts for the process then
    learns that there is none. `era` says which components it is made of, `pmd_size` how many bytes one entry of the
    upper level spans. `oom_skip` (MMF_OOM_SKIP) says that there is nothing to reap any more. `mm_lock_seq` is the
    number of the current write section of mmap_lock, for the locks of single VMAs. `userfaultfd_ctx` is who fills it
    from outside (`vm.uffd_copy`), `userfault_waiters` the tasks whose stores wait, and for which page (`vm.uffd`),
    `notifier_subscriptions` who mirrors it (`vm.mmu_notifier`).
    `mm_users` counts who keeps it from being torn down, the process included; `mmlist` says that swapoff finds it
    (`vm.mmlist`).
    `mm_count` are those who keep the object itself, of which its process is one, `vma_writer_wait` is where a writer
    waits for the readers of a VMA (`vm.rcuwait`); only the era 6.15 uses these two.
    `huge_zero_page` (MMF_HUGE_ZERO_PAGE) says that it has a reference to that page (`vm.huge_zero`).
    `unstable` (MMF_UNSTABLE) says that the OOM reaper takes pages away that the process still has: what is empty may
    have been written to, so no fault may fill it with zeroes.
    """

    name: Unshared[str]
    memory: Unshared[Memory]
    era: Unshared[Era]
    mmap_lock: Unshared[RwSemaphore]
    page_table_lock: Unshared[Spinlock]
    mm_mt: Unshared[VmaStore[VmArea]]
    map_count: Plain[int] = 0
    start_brk: Plain[int] = 0
    brk: Plain[int] = 0
    mm_lock_seq: Once[int] = 0
    mm_count: Atomic[int] = 1
    vma_writer_wait: Unshared[list[Task]]
    mmap_base: Unshared[int] = TASK_SIZE
    pmd_size: Unshared[int]
    ended: Unshared[bool] = False
    oom_skip: Once[bool] = False
    unstable: Once[bool] = False
    huge_zero_page: Atomic[bool] = False
    tlb_flush_pending: Atomic[int] = 0
    tlb_flush_batched: Atomic[int] = 0
    write_protect_seq: Atomic[int] = 0
    mm_users: Atomic[int] = 1
    mmlist: Once[bool] = False
    pmds: Unshared[dict[int, Pmd]]
    userfaultfd_ctx: Unshared[UserfaultfdCtx | None] = None
    notifier_subscriptions: Unshared[NotifierSubscriptions | None] = None
    userfault_waiters: Unshared[dict[Task, int]]
    deposits: Unshared[dict[int, PageTable]]
    detached: Unshared[dict[int, PageTable]]
    tlb: Unshared[dict[Task, dict[int, Present]]]
    rss: Unshared[dict[str, int]]

    def __init__(self, memory: Memory, name: str, start_brk: int, era: Era) -> None:
        mmap_lock = RwSemaphore("mm->mmap_lock")
        page_table_lock = Spinlock("mm->page_table_lock")
        super().__init__(
            name=name,
            memory=memory,
            pmd_size=memory.ptrs_per_pte * PAGE_SIZE,
            era=era,
            mmap_lock=mmap_lock,
            page_table_lock=page_table_lock,
            mm_mt=era.index(mmap_lock, page_table_lock),
            start_brk=start_brk,
            brk=start_brk,
            pmds={},
            deposits={},
            detached={},
            tlb={},
            vma_writer_wait=[],
            userfault_waiters={},
            rss={MM_ANONPAGES: 0, MM_FILEPAGES: 0, MM_SWAPENTS: 0},
        )


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
    mm.era.vma_locks.end_write_all(mm)
    mm.mmap_lock.up_write()


def mmap_write_downgrade(mm: MmStruct) -> None:
    """From changing to looking, with no writer in between; the write locks on single VMAs end."""
    mm.era.vma_locks.end_write_all(mm)
    mm.mmap_lock.downgrade_write()
