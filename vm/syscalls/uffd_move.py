"""Moving pages from one place of an address space to another, by userfaultfd: UFFDIO_MOVE. Kernel:
mm/userfaultfd.c, v6.8.

What lies at the source is taken away and put where nothing is yet. Only pages that nobody else has are moved: a
page of anonymous memory that is exclusive, or the slot of one that was swapped out. mmap_lock is held only for
reading, so faults, zaps, reclaim and other moves go on beside it, and whatever was read is looked at again under
both page-table locks.

Walks find a page through its anon_vma and its index, and both change. So the page is locked, which keeps migration
and reclaim away, and its anon_vma is locked for writing, since some walks go without the lock of the page
(folio_referenced()). The first lock is tried, and waited for only after the page tables were let go.

With the fixes up to v6.17: what is in the swap cache moves with its entry (c50f8e6053b0), looked at again under its
lock (0ea148a79919); a page that is pinned meanwhile stays what it was (d7a08838ab74); a huge page that is being
migrated is waited for (aba6faec0103).

Simpler here: an address space is registered as a whole; nobody waits for a page that is missing. mmap_lock is taken
in every era, as in v6.8: since v6.9 the locks of both VMAs may do (uffd_move_lock()), but a folio lock comes before
those in the order that v6.6 has. Each page is flushed by itself, as up to v6.17. Bits of an entry are made anew, as
there: the protection of the source is not moved with a page, and is with a slot.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, cond_resched, cpu_relax, trace
from sugarbush.concurrency.lowlevel import perform
from sugarbush.vm.faults import WAKE
from sugarbush.vm.frames import pmdp_get, pte_alloc
from sugarbush.vm.huge import pmd_folio, split_huge_pmd
from sugarbush.vm.objects import (
    EAGAIN,
    EBUSY,
    EEXIST,
    EINVAL,
    ENOENT,
    ENOMEM,
    PAGE_SIZE,
    VM_ACCESS_FLAGS,
    VM_HUGETLB,
    VM_IO,
    VM_LOCKED,
    VM_MIXEDMAP,
    VM_PFNMAP,
    VM_SHARED,
    VM_WRITE,
    Memory,
    Migration,
    MmStruct,
    Pmd,
    Present,
    UserfaultfdCtx,
    VmArea,
)
from sugarbush.vm.reverse import anon_vma_prepare
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_is_anonymous, vma_lookup
from sugarbush.vm.syscalls.uffd_move_huge import move_pages_huge_pmd
from sugarbush.vm.syscalls.uffd_move_pte import move_pages_pte

UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES = 0x2


def userfaultfd_move(ctx: UserfaultfdCtx, dst: int, src: int, length: int, mode: int = 0) -> int:
    """Move what is mapped at ``[src, src + length)`` to `dst`: how many bytes were moved, or an error if that is
    none.

    -EINVAL for what is not aligned, or no private, anonymous, writable memory of the same rights; -ENOENT where no
    VMA or, without UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, no page is; -EEXIST where something is mapped at `dst`; -EBUSY
    for a page that others have, too, or that is pinned; -EAGAIN while there is a fork that the monitor has not read
    of; -ENOMEM. Takes mmap_lock for reading. Kernel: fs/userfaultfd.c.
    """
    if (dst | src | length) & (PAGE_SIZE - 1) or length <= 0 or mode & ~UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES:
        return EINVAL
    # A look that saves the trouble; it counts once mmap_lock is held, as for UFFDIO_COPY (uffd-copy-fork,
    # Z43).
    if READ_ONCE(ctx, "mmap_changing"):
        return EAGAIN
    moved = move_pages(ctx, dst, src, length, mode)
    if moved > 0:
        perform(WAKE, ctx.mm, (dst, dst + moved))
        trace("userfaultfd_move", mm=ctx.mm.name, dst=hex(dst), src=hex(src), moved=moved)
    return moved


def uffd_move_lock(mm: MmStruct, dst: int, src: int) -> tuple[VmArea, VmArea] | int:
    """The VMAs of `dst` and `src`, with mmap_lock held for reading; or -ENOENT or -ENOMEM, and it is not.

    The VMA of `dst` gets an anon_vma, for the pages that come. Kernel: uffd_move_lock() without locks of VMAs, v6.9.
    """
    mmap_read_lock(mm)
    dst_vma, src_vma = vma_lookup(mm, dst), vma_lookup(mm, src)
    if dst_vma is None or src_vma is None:
        error = ENOENT
    # Shared memory has none, and is refused later.
    elif dst_vma.vm_flags & VM_SHARED or anon_vma_prepare(dst_vma):
        return dst_vma, src_vma
    else:
        error = ENOMEM
    mmap_read_unlock(mm)
    return error


def vma_move_compatible(vma: VmArea) -> bool:
    """Pages of `vma` are ordinary ones."""
    return not vma.vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB)


def validate_move_areas(src_vma: VmArea, dst_vma: VmArea) -> bool:
    """Both are private, anonymous and writable, and alike: then an entry may be the same at either place."""
    return (
        not (src_vma.vm_flags ^ dst_vma.vm_flags) & (VM_ACCESS_FLAGS | VM_LOCKED)
        and src_vma.vm_page_prot == dst_vma.vm_page_prot
        and bool(src_vma.vm_flags & VM_WRITE)
        and not (src_vma.vm_flags | dst_vma.vm_flags) & VM_SHARED
        and vma_move_compatible(src_vma)
        and vma_move_compatible(dst_vma)
        and vma_is_anonymous(src_vma)
        and vma_is_anonymous(dst_vma)
    )


def move_pages(ctx: UserfaultfdCtx, dst: int, src: int, length: int, mode: int) -> int:
    """As `userfaultfd_move`, which checks the range and wakes those who wait."""
    mm = ctx.mm
    locked = uffd_move_lock(mm, dst, src)
    if isinstance(locked, int):
        return locked
    dst_vma, src_vma = locked
    moved, error = 0, 0
    if READ_ONCE(ctx, "mmap_changing"):
        error = EAGAIN
    elif (
        src + length > src_vma.vm_end
        or dst + length > dst_vma.vm_end
        or not validate_move_areas(src_vma, dst_vma)
    ):
        error = EINVAL
    while not error and moved < length:
        error, step = move_one(dst_vma, src_vma, dst + moved, src + moved, src + length, mode)
        cond_resched()
        if error == EAGAIN:
            error = 0
            # It begins anew with mmap_lock held: what it waits for must not need that for writing.
            cpu_relax()
        elif not error:
            moved += step
    mmap_read_unlock(mm)
    return moved or error


def move_one(dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, end: int, mode: int) -> tuple[int, int]:
    """Move one page, or a huge page: 0 or an error, and how far that goes; -EAGAIN to do it once more. Needs
    mmap_lock for reading.

    The body of the loop of move_pages(). A huge page goes whole if it fits the place at `dst` and lies before `end`;
    else it is mapped page by page first.
    """
    mm = src_vma.vm_mm
    holes = bool(mode & UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES)
    dst_pmd = pmdp_get(mm, dst)
    if isinstance(dst_pmd, (Present, Migration)):
        return EEXIST, 0
    with mm.page_table_lock:
        pmd = pmdp_get(mm, src)
        huge = isinstance(pmd, (Present, Migration))
        splits = bool((dst | src) & (mm.pmd_size - 1)) or src + mm.pmd_size > end or dst_pmd is not None
        # Under the lock, where the entry cannot change its kind.
        shared = huge and splits and is_shared_huge(mm.memory, pmd)
    if shared:
        return EBUSY, 0
    if huge and not splits:
        return move_pages_huge_pmd(dst_vma, src_vma, dst, src), mm.pmd_size
    if huge:
        # The folio is split by move_pages_pte().
        split_huge_pmd(src_vma, src)
        return EAGAIN, 0
    if pmd is None and not holes:
        return ENOENT, 0
    if pte_alloc(mm, src) is None or pte_alloc(mm, dst) is None:
        # A huge page may have come there since, too: then the next look says so.
        full = any(pmdp_get(mm, address) is None for address in (src, dst))
        return (ENOMEM if full else EAGAIN), 0
    return move_pages_pte(dst_vma, src_vma, dst, src, holes=holes), PAGE_SIZE


def is_shared_huge(memory: Memory, pmd: Pmd) -> bool:
    """Others have the huge page, too, so it is not moved. One that is being migrated has no page to look at: it is
    split like another, and then waited for (v6.17, aba6faec0103). Needs `page_table_lock`.
    """
    # In this order: a migration entry is no page to ask (uffd-move-migration, Z84h).
    return isinstance(pmd, Present) and not pmd_folio(memory, pmd).anon_exclusive
