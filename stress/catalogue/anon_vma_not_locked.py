"""anon_vma_prepare() makes a new anon_vma, and up to 2.6.27 it did not lock it before it put the VMA on its
list: nobody else knows the object yet. But the memory of an anon_vma is used again at once, and a walk that
started from a page of its last owner may hold it still: it waits for the lock, gets it, for nobody has it, and
goes through the list while anon_vma_prepare() edits it.

Linus Torvalds reasoned it out; the fix takes the lock in every case. The walk of then did not look at its page again
after it had the lock, as it does since 2.6.36: that is the second patch.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, join, spawn
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.catalogue.anon_vma_root_changes import folio_lock_anon_vma_read
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_pages, page
from sugarbush.vm.frames import swapon
from sugarbush.vm.objects import PAGE_SIZE, VmArea
from sugarbush.vm.reclaim import kswapd
from sugarbush.vm.reverse import anon_vma_cache, anon_vma_chain, anon_vma_chain_link, avc_cache, put_anon_vma
from sugarbush.vm.vmas import boot, do_munmap


@patch(anon_vma_chain.anon_vma_prepare)
def anon_vma_prepare(vma: VmArea) -> bool:
    """A new anon_vma is not locked."""
    if READ_ONCE(vma, "anon_vma") is not None:
        return True
    avc, anon_vma = avc_cache.alloc(GFP_KERNEL), anon_vma_cache.alloc(GFP_KERNEL)
    assert avc is not None
    assert anon_vma is not None
    anon_vma.num_children += 1
    with vma.vm_mm.page_table_lock:
        installed = READ_ONCE(vma, "anon_vma") is None
        if installed:
            vma.anon_vma = anon_vma
            anon_vma_chain_link(vma, avc, anon_vma)
            anon_vma.num_active_vmas += 1
    if not installed:
        put_anon_vma(anon_vma)
        avc_cache.free(avc)
    return True


def use_again(process: Process) -> None:
    """Unmap what was used, and use something else."""
    do_munmap(process.mm, page(0), PAGE_SIZE)
    del process.written[page(0)]
    process.store(page(4), "new")


@bug(
    "anon-vma-not-locked",
    id="Z38",
    title="a new anon_vma is not locked while it is made known",
    year=2008,
    versions="up to 2.6.27",
    fix="anon_vma_prepare: properly lock even newly allocated entries",
    evidence="read",
    kind=Kind.DATA_RACE,
    check="data-race",
    patches=(anon_vma_prepare, folio_lock_anon_vma_read),
    tasks=2,
    preemptions=1,
)
def anon_vma_not_locked() -> None:
    """Unmap one mapping and use another, while a page of the first is reclaimed."""
    machine = boot(6)
    swapon(machine.memory, 2)
    process = Process(machine.add_mm("cc1", BASE))
    map_pages(process, 0, 1)
    map_pages(process, 4, 1)
    process.store(page(0), "old")
    join(spawn(use_again, process), spawn(kswapd, machine.memory, 1))
    end(machine, process)
