"""UFFDIO_MOVE moves a page that was swapped out by its entry alone: nothing maps the page, so nobody need be told.
But the page may be in the swap cache still, with the anon_vma and the index of the place that it came from. The
next fault at the new place finds it there and maps it, with both as they were. No walk finds such an entry, and
__page_check_anon_rmap() stops the kernel where that is compiled in.

Phones met it, on which a garbage collector moves the heap while memory is short. The fix locks the page in the
cache, and changes both.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.moves import heap_and_room, move, room
from sugarbush.stress.workloads.pages import page
from sugarbush.vm.frames import flush_tlb_batched_pending, ptep_get_and_clear, set_pte
from sugarbush.vm.objects import EAGAIN, Swap, SwapSlot, UserfaultfdCtx, VmArea
from sugarbush.vm.reclaim import kswapd
from sugarbush.vm.syscalls import Source, double_pt_lock, is_pte_pages_stable, uffd_move_pte


@patch(uffd_move_pte.lock_swap_cache)
def lock_swap_cache(_held: Source, _slot: SwapSlot, _pte: Swap) -> int:
    """Nobody looks into the swap cache."""
    return 0


@patch(uffd_move_pte.move_swap_pte)
def move_swap_pte(
    held: Source, _dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, pte: Swap, _slot: SwapSlot
) -> int:
    """The entry moves, and nothing else."""
    mm = src_vma.vm_mm
    dst_table, src_table = held.tables
    with double_pt_lock(dst_table, src_table, dst, src):
        if not is_pte_pages_stable(held, dst, src, pte, mm):
            return EAGAIN
        flush_tlb_batched_pending(mm)
        set_pte(dst_table, dst, ptep_get_and_clear(src_table, src))
    return 0


def collect(process: Process, ctx: UserfaultfdCtx) -> None:
    """Move the page, and use it where it is now."""
    if move(process, ctx, page(0), room(0)) > 0:
        process.load(room(0))


@bug(
    "uffd-move-swap-cache",
    id="Z83",
    title="a page in the swap cache is mapped at another place than its index says",
    year=2025,
    versions="6.8 to 6.13",
    fix="c50f8e6053b0: mm: fix kernel BUG when userfaultfd_move encounters swapcache",
    evidence="read",
    kind=Kind.INVARIANT,
    check="coverage",
    patches=(lock_swap_cache, move_swap_pte),
    tasks=2,
)
def uffd_move_swap_cache() -> None:
    """Move a page, and use it, while it is swapped out."""
    machine, process, ctx = heap_and_room(1, slots=2)
    join(
        spawn(collect, process, ctx, name="gc"),
        spawn(kswapd, machine.memory, 1, name="kswapd"),
    )
    process.exit(machine)
