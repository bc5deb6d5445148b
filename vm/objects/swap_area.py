"""The swap area and how many look at it. Kernel: struct swap_info_struct in include/linux/swap.h, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import Once, Shared, Unshared
from sugarbush.vm.objects.folio import SwapSlot
from sugarbush.vm.objects.percpu_ref import PercpuRef

SWP_USED = 0x1
SWP_WRITEOK = 0x2


class SwapArea(Shared):
    """All slots. `flags`: SWP_USED until swapoff is done, SWP_WRITEOK while slots are given away. `users` are those who
    look at slots (`get_swap_device`), `moved` counts the entries that were moved (`vm.reclaim.swapping_off`).

    With `synchronous`, reading is so fast that a page with one user need not go through the cache.

    While `zswap` is set pages are kept in memory as compressed copies first; an administrator may switch it at any
    time (/sys/module/zswap/parameters/enabled), so a slot may have a copy from before. `zswap_used` says that there may
    be any. With `thp` a huge page gets a row of slots, and stays whole in the swap cache (CONFIG_THP_SWAP).
    """

    slots: Unshared[list[SwapSlot]]
    flags: Once[int] = SWP_USED | SWP_WRITEOK
    users: Unshared[PercpuRef]
    moved: Unshared[int] = 0
    synchronous: Unshared[bool]
    zswap: Once[bool]
    # Never goes back: copies of before outlive the day on which zswap is switched off (zswap-duplicate, Z73).
    zswap_used: Unshared[bool] = False
    thp: Unshared[bool]

    def __init__(self, slots: int, *, synchronous: bool, zswap: bool, thp: bool) -> None:
        super().__init__(
            slots=[SwapSlot(number=number) for number in range(slots)],
            users=PercpuRef("swap_info.users"),
            synchronous=synchronous,
            zswap=zswap,
            thp=thp,
        )

    @property
    def name(self) -> str:
        """How traces call it."""
        return "swap_info"
