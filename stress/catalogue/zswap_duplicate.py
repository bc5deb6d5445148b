"""A page that came back from swap keeps its slot as long as slots are not scarce. If it is written to, and swapped out
once more, it goes to the same slot. zswap may have a copy for that slot from the first time. When zswap was switched
off in between, the page was written to the slot, and the old copy stayed. Whoever faulted on the page then got the
copy, for that is looked for first; and when zswap had too many copies it wrote the old one over the new content.

Up to v6.5 frontswap dropped the old copy before anything else. It was removed, and with it that line. The fix drops the
copy before zswap decides whether it takes the page.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import swap, zswap_copy
from sugarbush.vm.objects import Folio, SwapArea, SwapSlot
from sugarbush.vm.reclaim import kswapd


@patch(swap.zswap_store)
def zswap_store(area: SwapArea, slot: SwapSlot, folio: Folio) -> bool:
    """Nothing is done where zswap is off."""
    if not area.zswap:
        return False
    area.zswap_used = True
    zswap_copy(slot, folio)
    return True


def switch_off(area: SwapArea) -> None:
    """An administrator: echo N > /sys/module/zswap/parameters/enabled."""
    area.zswap = False


@bug(
    "zswap-duplicate",
    id="Z73",
    title="an old copy in zswap is read instead of what was written to the slot since",
    year=2024,
    versions="6.6 and 6.7",
    fix="678e54d4bb9a: mm/zswap: invalidate duplicate entry when !zswap_enabled",
    evidence="read",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(zswap_store,),
    tasks=2,
)
def zswap_duplicate() -> None:
    """Swap a page out and in, store to it, and swap it out again, while zswap is switched off."""
    machine, process = heap(1, slots=4, zswap=True)
    area = machine.memory.swap
    assert area is not None
    kswapd(machine.memory, 1)
    admin = spawn(switch_off, area, name="admin")
    process.load(page(0))
    process.store(page(0), "new")
    kswapd(machine.memory, 1)
    process.load(page(0))
    join(admin)
    process.exit(machine)
