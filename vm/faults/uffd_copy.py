"""Filling memory from outside by userfaultfd, and telling the monitor of forks: UFFDIO_COPY and UFFD_EVENT_FORK.
Kernel: mm/userfaultfd.c and fs/userfaultfd.c, v6.1.

A monitor must know which processes have which page. So a fork of a registered process announces itself under mmap_lock
(`mmap_changing`); from then until the monitor has read the event, nothing is copied.

Simpler here: an address space is registered as a whole, and a fault does not wait for the monitor.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import READ_ONCE, atomic_add_return, might_sleep, trace
from sugarbush.concurrency.lowlevel import Operation, peek, perform, poke
from sugarbush.vm.files import is_vm_hugetlb_page
from sugarbush.vm.frames import (
    alloc_folio,
    folio_put,
    maybe_mkwrite,
    mk_pte,
    pte_alloc,
    ptep_get,
    set_pte,
    userfaultfd_wp,
)
from sugarbush.vm.objects import (
    EAGAIN,
    EEXIST,
    EFAULT,
    EINVAL,
    ENOMEM,
    MM_ANONPAGES,
    PTE_DIRTY,
    VM_SHARED,
    VM_UFFD_WP,
    Marker,
    MmStruct,
    UserfaultfdCtx,
    VmArea,
)
from sugarbush.vm.reverse import anon_vma_prepare, folio_add_new_anon_rmap
from sugarbush.vm.spaces import (
    add_mm_counter,
    mmap_read_lock,
    mmap_read_unlock,
    vma_lookup,
    vma_set_page_prot,
)


def _is_told(ctx: UserfaultfdCtx, _task: Any) -> bool:
    return peek(ctx, "event") is not None


def _is_read(ctx: UserfaultfdCtx, _task: Any) -> bool:
    return peek(ctx, "event") is None


def _tell(ctx: UserfaultfdCtx, _task: Any, child: UserfaultfdCtx) -> None:
    poke(ctx, "event", child)


def _read(ctx: UserfaultfdCtx, _task: Any, _arg: Any) -> UserfaultfdCtx | None:
    child: UserfaultfdCtx | None = peek(ctx, "event")
    poke(ctx, "event", None)
    poke(ctx, "mmap_changing", peek(ctx, "mmap_changing") - 1)
    return child


_ORDER = ("event",)
TELL = Operation(
    "userfaultfd_event", ready=_is_read, effect=_tell, wakes=True, acquires=_ORDER, releases=_ORDER
)
WAIT = Operation("userfaultfd_event_wait_completion", ready=_is_read, acquires=_ORDER)
READ = Operation(
    "userfaultfd_read", ready=_is_told, effect=_read, wakes=True, acquires=_ORDER, releases=_ORDER
)


def userfaultfd(mm: MmStruct) -> UserfaultfdCtx:
    """Let a monitor fill `mm`, which has no other; it is told of forks."""
    ctx = mm.userfaultfd_ctx = UserfaultfdCtx(mm)
    return ctx


def userfaultfd_read(ctx: UserfaultfdCtx) -> UserfaultfdCtx:
    """Wait for a fork, and give what the monitor has of the child from now on."""
    might_sleep()
    child: UserfaultfdCtx = perform(READ, ctx)
    return child


def userfaultfd_copy(ctx: UserfaultfdCtx, address: int, token: object) -> int:
    """UFFDIO_COPY of one page: 0, -EAGAIN while there is an event to read, -EEXIST, -EFAULT, -EINVAL for a shared
    mapping, or -ENOMEM.
    """
    mm = ctx.mm
    mmap_read_lock(mm)
    # Asked under mmap_lock, under which a fork says so: a copy is either before the fork, and the child has
    # the page, or after the event was read. To ask before the lock, or not at all, is uffd-copy-fork (Z43).
    if READ_ONCE(ctx, "mmap_changing"):
        result = EAGAIN
    else:
        vma = vma_lookup(mm, address)
        if vma is None or is_vm_hugetlb_page(vma):
            result = EFAULT
        elif vma.vm_flags & VM_SHARED:
            # The page would have to be the file's (shmem_mfill_atomic_pte()), which is not modelled.
            result = EINVAL
        else:
            result = mfill_atomic(vma, address, token)
    mmap_read_unlock(mm)
    return result


def mfill_atomic(vma: VmArea, address: int, token: object) -> int:
    """Map a new page with this content, unless one is there; 0, -EEXIST or -ENOMEM. Needs mmap_lock for reading."""
    mm = vma.vm_mm
    table = pte_alloc(mm, address)
    folio = None if table is None or not anon_vma_prepare(vma) else alloc_folio(mm.memory)
    if table is None or folio is None:
        return ENOMEM
    folio.token = token
    bits = vma.vm_page_prot | maybe_mkwrite(vma) | PTE_DIRTY
    with table.ptl:
        # Only where nothing is: what a thread has written meanwhile must not be overwritten by what the
        # monitor sends.
        result = 0 if isinstance(ptep_get(table, address), Marker | None) else EEXIST
        if result == 0:
            add_mm_counter(mm, MM_ANONPAGES, 1)
            folio_add_new_anon_rmap(folio, vma, address)
            folio.lru = True
            set_pte(table, address, mk_pte(folio, bits))
            trace("mfill_atomic", mm=mm.name, addr=hex(address), page=folio.name)
    if result:
        folio_put(mm.memory, folio)
    return result


def dup_userfaultfd(mm: MmStruct, oldmm: MmStruct) -> None:
    """A fork begins: what the monitor fills must wait for the event. Needs mmap_lock of `oldmm` for writing."""
    ctx = oldmm.userfaultfd_ctx
    if ctx is not None:
        # Before the first page is copied; the end is when the monitor has read of it (`_read`), or there is
        # no child.
        atomic_add_return(ctx, "mmap_changing", 1)
        mm.userfaultfd_ctx = UserfaultfdCtx(mm)


def dup_userfaultfd_vma(vma: VmArea) -> None:
    """The child's `vma`, which nobody knows yet, is registered only where a monitor hears of forks.

    A child that nobody knows of would wait for ever at a page that is protected. Kernel: dup_userfaultfd(), v6.1, with
    userfaultfd_set_vm_flags() of v6.2.
    """
    if vma.vm_mm.userfaultfd_ctx is None and userfaultfd_wp(vma):
        vma.vm_flags &= ~VM_UFFD_WP
        vma_set_page_prot(vma)


def dup_userfaultfd_complete(mm: MmStruct, oldmm: MmStruct) -> None:
    """The fork is done: wait until the monitor knows of it. No lock may be held."""
    ctx, child = oldmm.userfaultfd_ctx, mm.userfaultfd_ctx
    if ctx is not None and child is not None:
        might_sleep()
        # Without mmap_lock: the monitor may need it before it comes to read.
        perform(TELL, ctx, child)
        perform(WAIT, ctx)


def dup_userfaultfd_fail(oldmm: MmStruct) -> None:
    """There is no child, so there is nothing to read."""
    ctx = oldmm.userfaultfd_ctx
    if ctx is not None:
        atomic_add_return(ctx, "mmap_changing", -1)
