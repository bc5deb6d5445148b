"""What workloads on devices that mirror a process begin with."""

from __future__ import annotations

from vm.all_locks import mmu_notifier_register
from vm.layout import PAGE_SIZE
from vm.mm_types import MmStruct
from vm.mmu_notifier import mmu_interval_notifier_insert
from vm.secondary_mmu import MmuIntervalNotifier


def mirror(mm: MmStruct, start: int, pages: int) -> MmuIntervalNotifier:
    """A device that mirrors so many pages, and has nothing of them yet; `vm.hmm.device_close` is its end."""
    mmu_notifier_register(mm)
    return mmu_interval_notifier_insert(mm, start, start + pages * PAGE_SIZE)
