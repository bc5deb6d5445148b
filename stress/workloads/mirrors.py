"""What workloads on devices that mirror a process begin with."""

from __future__ import annotations

from sugarbush.vm.frames import MmuIntervalNotifier, mmu_interval_notifier_insert
from sugarbush.vm.objects import PAGE_SIZE, MmStruct
from sugarbush.vm.reverse import mmu_notifier_register


def mirror(mm: MmStruct, start: int, pages: int) -> MmuIntervalNotifier:
    """A device that mirrors so many pages, and has nothing of them yet; `vm.access.hmm.device_close` is its end."""
    mmu_notifier_register(mm)
    return mmu_interval_notifier_insert(mm, start, start + pages * PAGE_SIZE)
