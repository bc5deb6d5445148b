"""How a collapse went, and for whom it is made. Kernel: enum scan_result and struct collapse_control, v6.1."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sugarbush.vm.objects import EAGAIN, EINVAL, ENOMEM


class Scan(IntEnum):
    """What came of looking at the range of a huge page, or of making one: SUCCEED is 0, the others are below."""

    SUCCEED = 0
    FAIL = -1
    PMD_NULL = -2
    PMD_NONE = -3
    PMD_MAPPED = -4
    EXCEED_NONE_PTE = -5
    PTE_NON_PRESENT = -6
    PTE_UFFD_WP = -7
    PAGE_RO = -8
    PAGE_COUNT = -9
    PAGE_LRU = -10
    PAGE_LOCK = -11
    PAGE_ANON = -12
    PAGE_COMPOUND = -13
    ANY_PROCESS = -14
    VMA_NULL = -15
    VMA_CHECK = -16
    ADDRESS_RANGE = -17
    DEL_PAGE_LRU = -18
    ALLOC_HUGE_PAGE_FAIL = -19
    EXCEED_SHARED_PTE = -20


@dataclass(frozen=True, slots=True)
class CollapseControl:
    """For which of the two a huge page is made. khugepaged goes by what the process has asked for (MADV_HUGEPAGE)
    and by limits, so that it wastes nothing; MADV_COLLAPSE is an order, and only MADV_NOHUGEPAGE is above it.
    """

    is_khugepaged: bool

    def permits_holes(self, holes: int, pages: int) -> bool:
        """`holes` of the `pages` may be empty, or the zero page (khugepaged_max_ptes_none: all but one)."""
        # A hole becomes memory that the process has not asked for. khugepaged's limit is the default one,
        # which gives a huge page for a single small one.
        return not self.is_khugepaged or holes < pages


KHUGEPAGED = CollapseControl(is_khugepaged=True)
MADVISE = CollapseControl(is_khugepaged=False)

# As in v6.1: these concern one place only, and the next huge page may be fit all the same. All else ends the
# call.
GOES_ON = frozenset(
    {
        Scan.PMD_NULL,
        Scan.PTE_NON_PRESENT,
        Scan.PTE_UFFD_WP,
        Scan.PAGE_RO,
        Scan.PAGE_COUNT,
        Scan.PAGE_LOCK,
        Scan.PAGE_COMPOUND,
        Scan.PAGE_LRU,
        Scan.DEL_PAGE_LRU,
    }
)
"""What keeps one huge page from being made, and not the next one."""

# What passes by itself: a lock, a reference, a page that is off the LRU for the moment. The caller is to try
# again, so nothing may be in here that stays as it is.
_AGAIN = frozenset({Scan.PAGE_COUNT, Scan.PAGE_LOCK, Scan.PAGE_LRU, Scan.DEL_PAGE_LRU})


def madvise_collapse_errno(result: Scan) -> int:
    """What madvise(2) says: -EAGAIN where another try may help. That of a count is such a one since v6.1.7, as far as
    we know.
    """
    if result is Scan.ALLOC_HUGE_PAGE_FAIL:
        return ENOMEM
    return EAGAIN if result in _AGAIN else EINVAL
