"""The map of reserved huge pages, of a file or of a private mapping. Kernel: mm/hugetlb.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import Plain, RwSemaphore, Shared, Spinlock, Unshared


class ResvMap(Shared):
    """A set of huge pages, by their numbers in the file: `regions`, under `lock`.

    That of a file has the pages that are reserved for it, be they allocated yet or not. That of a private
    mapping has the pages whose reservation was used up: what is not in it is reserved. `rw_sema` is the lock of
    such a mapping, as since v6.6 (`hugetlb_vma_lock`).
    """

    lock: Unshared[Spinlock]
    # Only that of a private mapping: that of a file would be one lock for all who map it. Shared mappings
    # have theirs in the VMA.
    rw_sema: Unshared[RwSemaphore]
    regions: Plain[frozenset[int]] = frozenset()

    def __init__(self) -> None:
        super().__init__(lock=Spinlock("resv_map->lock"), rw_sema=RwSemaphore("hugetlb_vma_lock"))
