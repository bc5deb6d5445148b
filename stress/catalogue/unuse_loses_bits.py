"""A page that userfaultfd protects keeps its protection in the swap entry while it is swapped out. A fault that
brings it back puts the bit into the new entry. swapoff brings pages back, too, and made the new entry out of
nothing but the rights of the VMA: the bit was lost, and with it the bit by which a checkpoint tells that a page was
written to (soft-dirty). Whoever took a snapshot of memory under the protection then had a page in it that was
written meanwhile.

Seen in review. The fix takes both bits over from the swap entry.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import user_load, user_store
from sugarbush.vm.faults import userfaultfd_register, userfaultfd_writeprotect
from sugarbush.vm.frames import mk_pte
from sugarbush.vm.objects import Folio, MmStruct, Present, Swap, VmArea
from sugarbush.vm.reclaim import kswapd, swapoff
from sugarbush.vm.reclaim import swapping_off as swapoff_


@patch(swapoff_.unused_pte)
def unused_pte(vma: VmArea, folio: Folio, _pte: Swap) -> Present:
    """The bits of the swap entry are not asked for."""
    return mk_pte(folio, vma.vm_page_prot)


def snapshot(mm: MmStruct) -> None:
    """Copy the page in peace: it is the same at the beginning and at the end. Then let stores go on."""
    for _ in range(2):
        check(user_load(mm, page(0)) == "cc1:0", "nobody stores to a page while userfaultfd protects it")
    userfaultfd_writeprotect(mm, page(0), page(1), protect=False)


@bug(
    "unuse-loses-bits",
    id="Z82",
    title="a page that userfaultfd protects becomes writable when swapoff brings it back",
    year=2022,
    versions="5.7 to 5.18",
    fix="14a762dd1977: mm/swapfile: fix lost swap bits in unuse_pte()",
    evidence="as far as we know",
    kind=Kind.CHECK,
    patches=(unused_pte,),
    tasks=3,
)
def unuse_loses_bits() -> None:
    """Take a snapshot of memory that was swapped out, while one thread stores to it and the swap area goes."""
    machine, process = heap(1, slots=2)
    mm = process.mm
    userfaultfd_register(mm, page(0))
    userfaultfd_writeprotect(mm, page(0), page(1), protect=True)
    kswapd(machine.memory, 1)
    join(
        spawn(snapshot, mm, name="monitor"),
        spawn(user_store, mm, page(0), "store", name="vcpu"),
        spawn(swapoff, machine.memory, name="swapoff"),
    )
    process.exit(machine)
