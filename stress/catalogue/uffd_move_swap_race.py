"""UFFDIO_MOVE looks for the page of a swap entry in the swap cache, and if there is one it locks it and lets it go along.
Then it compares the entry with what it was, and took that for proof that the page still belongs to it, or that there is
still none. But the page may have been read, mapped, and swapped out once more in between, and that to the same slot, which
pages keep as long as slots are not scarce: the entry looks as before. If there was no page in the cache the first time,
there is one now, and it stays behind: it is mapped at the new place with the anon_vma and the index of the old one. If
there was one, it may by now be that of another entry.

The fix looks at the page again under its lock, and at the slot under the lock of the page table.
"""

from __future__ import annotations

from concurrency import Kind, join, spawn
from stress.bug import bug
from stress.patch import patch
from stress.process import Process
from stress.workloads.moves import heap_and_room, move, room
from stress.workloads.pages import page
from vm import uffd_move
from vm.errno import EAGAIN, EBUSY
from vm.pgtable import Swap, ptep_get_and_clear, set_pte
from vm.rmap import folio_move_anon_rmap
from vm.swap import SwapSlot
from vm.tlb import flush_tlb_batched_pending
from vm.uffd_copy import UserfaultfdCtx
from vm.uffd_move import Source, double_pt_lock, is_pte_pages_stable
from vm.user import user_load, user_store
from vm.vma import VmArea, linear_page_index
from vm.vmscan import kswapd


@patch(uffd_move.move_swap_pte)
def move_swap_pte(
    held: Source, dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, pte: Swap, _slot: SwapSlot
) -> int:
    """The entry is what it was: so must be the page."""
    mm = src_vma.vm_mm
    folio = held.folio
    if folio is not None and folio.head.order:
        return EBUSY
    dst_table, src_table = held.tables
    with double_pt_lock(dst_table, src_table, dst, src):
        if not is_pte_pages_stable(held, dst, src, pte, mm):
            return EAGAIN
        flush_tlb_batched_pending(mm)
        if folio is not None:
            folio_move_anon_rmap(folio, dst_vma, linear_page_index(dst_vma, dst))
        set_pte(dst_table, dst, ptep_get_and_clear(src_table, src))
    return 0


def collect(process: Process, ctx: UserfaultfdCtx) -> None:
    """Move the page, and use it where it is now."""
    if move(process, ctx, page(0), room(0)) > 0:
        user_load(process.mm, room(0))


def use(process: Process) -> None:
    """Store to the page where it was, be it moved or not; then memory is short again."""
    user_store(process.mm, page(0), "new")
    kswapd(process.mm.memory, 1)


@bug(
    "uffd-move-swap-race",
    id="Z83r",
    title="a swapped-out page is taken for the same one because its entry is",
    year=2025,
    versions="6.8 to 6.15",
    cve="CVE-2025-38242",
    fix="0ea148a79919: mm: userfaultfd: fix race of userfaultfd_move and swap cache",
    evidence="read",
    kind=Kind.INVARIANT,
    check="coverage",
    patches=(move_swap_pte,),
    tasks=2,
)
def uffd_move_swap_race() -> None:
    """Move a page that was swapped out, while another thread reads it and it goes out again."""
    machine, process, ctx = heap_and_room(1, slots=4)
    kswapd(machine.memory, 1)
    join(
        spawn(collect, process, ctx, name="gc"),
        spawn(use, process, name="mutator"),
    )
    process.exit(machine)
