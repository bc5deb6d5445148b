"""UFFDIO_MOVE does not move a page that is pinned. A pin without locks may come at any moment: so after the entry
was cleared the pins are counted once more, and if there is one now, the entry is put back and the move fails. But
the page had been told of its new place already, its anon_vma and its index, and that was not put back. Walks looked
for it where it is not: it could neither be swapped out nor moved, and walks of migration might have lost it.

The invariant sees the cause without a pin: for a moment the page says that it is at its new place, whose anon_vma
nobody has locked, and its entry is at the old one. What was reported needs the pin in that moment, after which it
stays so.

The fix changes the page only when it is certain that it is moved. For huge pages it took another one (c0205eaf3af9).
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.moves import heap_and_room, move, room
from sugarbush.stress.workloads.pages import page
from sugarbush.vm.access import pin_user_page, unpin_user_page
from sugarbush.vm.frames import maybe_mkwrite, mk_pte, ptep_clear_flush, set_pte
from sugarbush.vm.objects import EAGAIN, EBUSY, PTE_DIRTY, MmStruct, Present, VmArea, folio_maybe_dma_pinned
from sugarbush.vm.reverse import folio_move_anon_rmap
from sugarbush.vm.spaces import linear_page_index
from sugarbush.vm.syscalls import Source, double_pt_lock, is_pte_pages_stable, uffd_move_pte


@patch(uffd_move_pte.move_present_pte)
def move_present_pte(held: Source, dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, pte: Present) -> int:
    """The page is told of its new place before the pins are counted for the second time."""
    mm = src_vma.vm_mm
    folio = held.folio
    assert folio is not None
    dst_table, src_table = held.tables
    with double_pt_lock(dst_table, src_table, dst, src):
        if not is_pte_pages_stable(held, dst, src, pte, mm):
            return EAGAIN
        if folio.head.order or folio_maybe_dma_pinned(folio) or not folio.anon_exclusive:
            return EBUSY
        folio_move_anon_rmap(folio, dst_vma, linear_page_index(dst_vma, dst))
        cleared = ptep_clear_flush(mm, src_table, src)
        if folio_maybe_dma_pinned(folio):
            set_pte(src_table, src, cleared)
            return EBUSY
        set_pte(dst_table, dst, mk_pte(folio, dst_vma.vm_page_prot | maybe_mkwrite(dst_vma) | PTE_DIRTY))
    return 0


def use(mm: MmStruct) -> None:
    """A device: it has the page for a while, if it is there."""
    found = pin_user_page(mm, page(0))
    if not isinstance(found, int):
        unpin_user_page(mm.memory, found)


@bug(
    "uffd-move-pinned",
    id="Z84",
    title="a page that is pinned while it is moved stays, and says that it has moved",
    year=2024,
    versions="candidates of 6.8",
    fix="d7a08838ab74: mm: userfaultfd: fix unexpected change to src_folio when UFFDIO_MOVE fails",
    evidence="read",
    kind=Kind.INVARIANT,
    check="coverage",
    patches=(move_present_pte,),
    tasks=2,
    preemptions=0,
)
def uffd_move_pinned() -> None:
    """Move a page while a device pins it."""
    machine, process, ctx = heap_and_room(1)
    join(
        spawn(move, process, ctx, page(0), room(0), name="gc"),
        spawn(use, process.mm, name="device"),
    )
    process.exit(machine)
