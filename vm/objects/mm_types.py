"""The objects that refer to one another: the machine's memory, address spaces, VMAs, anon_vmas and files.

A VMA names its address space, which has it in a tree; it names its file and its anon_vma, which have it in trees of
theirs; and a driver's hooks, which are given it. So these classes stand in one module, as in the kernel, and nothing
but their fields: what is done with them is in the modules above, each by the name of the object (`vm.spaces.mm`,
`vm.spaces.vma`, `vm.reverse.anon_vma`, `vm.files.filemap`). Kernel: include/linux/mm_types.h, v6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sugarbush.concurrency import Atomic, Once, Plain, RwSemaphore, Shared, Spinlock, Unshared
from sugarbush.concurrency.lowlevel import peek, poke
from sugarbush.tree import VmaStore
from sugarbush.vm.objects.folio import Folio, HugeZero, Mapping
from sugarbush.vm.objects.layout import PAGE_SIZE, PTRS_PER_PTE, TASK_SIZE, VM_HUGETLB, VM_SHARED, ZERO_PFN
from sugarbush.vm.objects.page_prot import vm_get_page_prot
from sugarbush.vm.objects.pgtable_types import PageTable, Pmd, Present
from sugarbush.vm.objects.resv_map import ResvMap
from sugarbush.vm.objects.swap_area import SwapArea
from sugarbush.vm.objects.vma_locks import VmaLocks
from sugarbush.vm.objects.vma_refcnt import VmRefcnt

if TYPE_CHECKING:
    from sugarbush.concurrency import Task


MM_ANONPAGES = "MM_ANONPAGES"
MM_FILEPAGES = "MM_FILEPAGES"
MM_SWAPENTS = "MM_SWAPENTS"


class Memory:
    """All frames, and the free ones: the last freed is handed out first, as from a per-CPU list."""

    name = "zone"

    def __init__(self, frames: int, nodes: int = 1, ptrs_per_pte: int = PTRS_PER_PTE) -> None:
        # So many entries has a page-table page, and so many pages a huge page (HPAGE_PMD_NR).
        self.ptrs_per_pte = ptrs_per_pte
        self.mem_map = [Folio(pfn) for pfn in range(frames)]
        # They have the frames in stretches of one length (`page_to_nid`).
        self.nodes = nodes
        self.free_list = self.mem_map[::-1]
        self.swap: SwapArea | None = None
        self.deferred_split: list[Folio] = []
        # Which tasks stay on the CPUs of which node (`vm.reclaim.numa`).
        self.affinity: dict[Task, int] = {}
        # The CPUs that walk page tables with interrupts off (`vm.access.gup`).
        self.irqs_off: list[Task] = []
        # The address spaces that swapoff looks through, under the lock (`vm.spaces.mmlist`).
        self.mmlist: list[MmStruct] = []
        self.mmlist_lock = Spinlock("mmlist_lock")
        # No frame of mem_map, as that of `huge_zero` is (`vm.frames.zero_page`): it is never free, and no
        # entry counts it.
        self.zero_page = Folio(ZERO_PFN)
        poke(self.zero_page, "refcount", 1)
        poke(self.zero_page, "token", 0)
        self.huge_zero = HugeZero()


Hold = tuple["VmArea", Callable[[], None]]
"""A VMA that is kept from changing, and the function that ends that."""
VmaIndex = Callable[[RwSemaphore, Spinlock], VmaStore["VmArea"]]
"""Makes what holds the VMAs of an address space, out of its mmap_lock and page_table_lock."""


@dataclass(frozen=True, slots=True)
class Era:
    """The components of one kernel: `index` holds the VMAs, `hold_for_fault` is how a fault finds and locks its VMA,
    `tear_down` is the body of exit_mmap().
    """

    name: str
    index: VmaIndex
    vma_locks: VmaLocks[MmStruct, VmArea]
    hold_for_fault: Callable[[MmStruct, int], Hold | None]
    tear_down: Callable[[MmStruct], None]


class Subscriptions(Shared):
    """The devices that mirror an address space, as it knows them: what they are is said in
    `vm.frames.secondary_mmu`.
    """


class MmStruct(Shared):
    """An address space: `mmap_lock`, the VMAs in `mm_mt`, the heap's borders, page tables and resident set.

    Writing the VMAs, `map_count`, `start_brk` and `brk` needs mmap_lock for writing, reading them for reading.
    """

    PLACE_NAMES = {"pmds": "pmd"}  # noqa: RUF012

    name: Unshared[str]
    memory: Unshared[Memory]
    # Which components it is made of.
    era: Unshared[Era]
    mmap_lock: Unshared[RwSemaphore]
    page_table_lock: Unshared[Spinlock]
    mm_mt: Unshared[VmaStore[VmArea]]
    map_count: Plain[int] = 0
    start_brk: Plain[int] = 0
    brk: Plain[int] = 0
    # The number of the current write section of mmap_lock, for the locks of single VMAs. Written with mmap_lock
    # held for writing, so its holder reads it without more ado. A reader of a VMA must acquire it: a reader that
    # sees it go on then sees all that was changed before (mm-lock-seq-order, Z23).
    mm_lock_seq: Once[int] = 0
    # Those that keep the object itself, its process as one. Only the era 6.15 uses this field and the next one.
    mm_count: Atomic[int] = 1
    # Where a writer waits for the readers of a VMA (`vm.spaces.rcuwait`).
    vma_writer_wait: Unshared[list[Task]]
    mmap_base: Unshared[int] = TASK_SIZE
    # How many bytes one entry of the upper level spans.
    pmd_size: Unshared[int]
    # Set by `exit_mmap` (mm_users is 0): a task that acts for the process then learns that there is none.
    ended: Unshared[bool] = False
    # MMF_OOM_SKIP: there is nothing to reap any more. Set once the pages are gone and before the VMAs go, under no
    # lock: the reaper asks under mmap_lock, which exit_mmap() takes for writing in between (mrelease-after-exit,
    # Z41).
    oom_skip: Once[bool] = False
    # MMF_UNSTABLE: the OOM reaper takes pages away that the process still has. What is empty may have been written
    # to, so no fault may fill it with zeroes (`check_stable_address_space`).
    unstable: Once[bool] = False
    # MMF_HUGE_ZERO_PAGE: it has a reference to the huge zero page (`vm.huge.huge_zero`).
    huge_zero_page: Atomic[bool] = False
    # Above 0 from before the first entry changes until after the flush. A task that has counted itself and reads
    # more than 1 is not alone: an entry that looks empty may be one that the other task has not flushed yet
    # (zap-without-nested-flush, Z32).
    tlb_flush_pending: Atomic[int] = 0
    # How many flushes reclaim has put off, and how many of them were made up for (`vm.frames.tlb`).
    tlb_flush_batched: Atomic[int] = 0
    # Odd while fork copies entries. A pin without locks that has seen two values is given up: fork may have asked
    # before whether the page is pinned (gup-fast-against-fork, Z36).
    write_protect_seq: Atomic[int] = 0
    # The tasks that keep it from being torn down, its process as one (`vm.spaces.mmlist`).
    mm_users: Atomic[int] = 1
    # Whether swapoff finds it.
    mmlist: Once[bool] = False
    # The entries of the upper level of the page tables; written under page_table_lock.
    pmds: Unshared[dict[int, Pmd]]
    # The monitor that fills it from outside (`vm.faults.uffd_copy`).
    userfaultfd_ctx: Unshared[UserfaultfdCtx | None] = None
    # The devices that mirror it (`vm.frames.secondary_mmu`).
    notifier_subscriptions: Unshared[Subscriptions | None] = None
    # The tasks whose stores wait for a monitor, and for which page (`vm.faults.uffd`).
    userfault_waiters: Unshared[dict[Task, int]]
    # The page-table pages that huge pages keep for the day when they are split. Under page_table_lock, and as many
    # as there are huge entries: a split must never have to allocate.
    deposits: Unshared[dict[int, PageTable]]
    # Those that khugepaged has taken away from the processors and not emptied yet; for the invariants.
    detached: Unshared[dict[int, PageTable]]
    # What the CPU of each task keeps of the page tables, page by page.
    tlb: Unshared[dict[Task, dict[int, Present]]]
    # How many pages it has of each kind (`vm.spaces.mm.add_mm_counter`).
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


class UserfaultfdCtx(Shared):
    """The handle that a monitor has on one address space. `event` is the handle on a new child, until the monitor
    reads it.

    `mmap_changing` counts the forks that it has not read of.
    """

    mm: Unshared[MmStruct]
    mmap_changing: Atomic[int] = 0
    event: Once[UserfaultfdCtx | None] = None

    def __init__(self, mm: MmStruct) -> None:
        super().__init__(mm=mm)


class VmArea(Shared):
    """The range ``[vm_start, vm_end)`` in bytes, `vm_pgoff` pages into `vm_file`, or into nothing if that is None.

    Writing start, end or pgoff needs mmap_lock for writing and, once the VMA is in an rmap tree, that tree's lock
    for writing; reading them needs one of the two. A stack grows under mmap_lock for reading and page_table_lock
    (`vm.faults.stack`).
    """

    vm_mm: Unshared[MmStruct]
    # These three say where a walk of rmap looks for a page, so they change together: out of the trees, the new
    # values, back in (vma-adjust-no-lock, Z04).
    vm_start: Plain[int]
    vm_end: Plain[int]
    vm_pgoff: Plain[int]
    # These two are written under mmap_lock for writing, and read by rmap walks
    # without it: the second walk of a migration has nothing but an rmap lock. So vm_page_prot must be right for all
    # that the VMA covers whenever that lock is free (merge-page-prot, Z08).
    vm_flags: Once[int]
    vm_page_prot: Once[int]
    vm_file: Unshared[AddressSpace | None]
    # What its driver wants to be called (`vm.vmas.vm_ops`).
    vm_ops: Unshared[VmOperations | None] = None
    # Goes from None to its value under mmap_lock and page_table_lock, and is read without. A fault that finds it set
    # before the VMA is in its trees maps pages that no walk finds (vma-inherits-unlocked, Z22): so it is set under a
    # lock that keeps faults out, or in one section with the link.
    anon_vma: Once[AnonVma | None] = None
    # The newest link first.
    anon_vma_chain: Unshared[list[AnonVmaChain]]
    # The lock of a shared hugetlb mapping, or the reservations of a private one (`vm.files.hugetlbfs`). A child's is
    # written by its parent, which holds no lock of the child's (`vm.huge.hugetlb_cow`): so Once.
    vm_private_data: Once[RwSemaphore | ResvMap | str | None]
    # The last four are of `vm.spaces.vma_lock` and `vm.spaces.vma_lock_refcnt`.
    vm_lock: Unshared[RwSemaphore | None]
    vm_lock_seq: Once[int] = -1
    detached: Once[bool] = False
    vm_refcnt: Unshared[VmRefcnt | None] = None

    def __init__(
        self, mm: MmStruct, start: int, end: int, pgoff: int, flags: int, file: AddressSpace | None = None
    ) -> None:
        super().__init__(
            vm_mm=mm,
            vm_start=start,
            vm_end=end,
            vm_pgoff=pgoff,
            vm_flags=flags,
            vm_page_prot=vm_get_page_prot(flags),
            vm_file=file,
            anon_vma_chain=[],
            vm_private_data=RwSemaphore("hugetlb_vma_lock")
            if flags & VM_HUGETLB and flags & VM_SHARED
            else None,
            vm_lock=mm.era.vma_locks.make(),
        )

    @property
    def name(self) -> str:
        """How traces call it: its range now, looked at from outside."""
        return f"vma[{peek(self, 'vm_start'):#x}, {peek(self, 'vm_end'):#x})"


class AnonVma(Mapping):
    """The VMAs that share anonymous pages, as an interval tree over page offsets; guarded by `root.rwsem`.

    A reference keeps the object; the VMAs in the tree hold one together. A root counts itself among its children.
    `num_active_vmas` are the VMAs whose `anon_vma` it is. Its memory is type-safe by RCU: it may be another anon_vma
    at any time for whoever has no reference, but the lock in it stays a lock (anon_vma_ctor()).
    """

    anon: ClassVar[bool] = True

    root: Unshared[AnonVma]
    parent: Unshared[AnonVma]
    rwsem: Unshared[RwSemaphore]
    refcount: Atomic[int] = 1
    # Two numbers since v6.0, for with one of them it could not be told whether the last user is a child or a
    # VMA (anon-vma-degree, Z24).
    num_children: Once[int] = 0
    num_active_vmas: Once[int] = 0
    rb_root: Unshared[list[tuple[int, int, AnonVmaChain]]]

    def __init__(self) -> None:
        # Where the memory was another anon_vma before, its lock stays as it is: a walk that came too late may
        # wait for it, or hold it, at this moment (anon-vma-not-locked, Z38).
        rwsem = getattr(self, "rwsem", None) or RwSemaphore("anon_vma->rwsem")
        super().__init__(rwsem=rwsem, rb_root=[])
        self.root = self.parent = self

    @property
    def name(self) -> str:
        """How traces call it."""
        return "anon_vma"


class AnonVmaChain:
    """The link between one VMA and one anon_vma; kernel: struct anon_vma_chain."""

    __slots__ = ("anon_vma", "key", "vma")

    vma: VmArea
    anon_vma: AnonVma

    def __init__(self) -> None:
        # What it is filed under, be it that the fields of the VMA say something else by now; None while it is
        # in no tree.
        self.key: tuple[int, int, AnonVmaChain] | None = None


class AddressSpace(Mapping):
    """One file: its cached pages, and the tree of the VMAs that map it, guarded by `i_mmap_rwsem`.

    `i_rwsem` is held by whoever writes to the file or truncates it, `invalidate_lock` by whoever adds pages (for
    reading) or takes them away. `disk` is what can be read, 0 where nothing stands. `i_size` is in pages; None for a
    file that is as long as anybody asks. `f_op` is what its driver does when it is mapped (`vm.vmas.vm_ops`).
    """

    name: Unshared[str]
    pages: Unshared[dict[int, Folio]]
    disk: Unshared[dict[int, object]]
    i_rwsem: Unshared[RwSemaphore]
    invalidate_lock: Unshared[RwSemaphore]
    i_mmap_rwsem: Unshared[RwSemaphore]
    i_mmap: Unshared[list[tuple[int, int, VmArea]]]
    i_mmap_nonlinear: Unshared[list[VmArea]]
    i_size: Once[int | None] = None
    f_count: Atomic[int] = 1
    f_op: Unshared[FileOperations | None] = None

    def __init__(self, name: str, size: int | None = None) -> None:
        super().__init__(
            name=name,
            i_size=size,
            pages={},
            disk={},
            i_rwsem=RwSemaphore("inode->i_rwsem"),
            invalidate_lock=RwSemaphore("mapping->invalidate_lock"),
            i_mmap_rwsem=RwSemaphore("mapping->i_mmap_rwsem"),
            i_mmap=[],
            i_mmap_nonlinear=[],
        )

    def evict(self, cached: int) -> None:
        """The file is gone, and so are the `cached` pages of it; hugetlbfs has more to say."""


@dataclass(frozen=True, slots=True)
class VmOperations:
    """struct vm_operations_struct: what is called for each VMA of a mapping. Both may sleep.

    `open` is called under mmap_lock for writing, `close` under mmap_lock, be it only for reading, when the VMA is
    in no tree any more.
    """

    open: Callable[[VmArea], None] | None = None
    close: Callable[[VmArea], None] | None = None


@dataclass(frozen=True, slots=True)
class FileOperations:
    """struct file_operations: what is called when the file is mapped; 0 or a negative error."""

    mmap: Callable[[VmArea], int]
