"""The checks of a run: which there are, when each looks, and what it looks at. `CHECK_TABLE` is the one place for all.

A check is a row. Those whose moment is `When.OPERATION` look nowhere: the model or the runtime raises them where the
kernel has its BUG_ON, and the row makes the name known to ``--without``. All others have a function that looks at the
state and gives a sentence if something is wrong there.

To add a check that looks: the recipe in CONTRIBUTING.md. A look that reads what no other look of its moment reads is
also told to `stress.kit.sight`; `audit` finds it where that was forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from sugarbush.concurrency import Kind, RwSemaphore
from sugarbush.concurrency.lowlevel import peek
from sugarbush.vm.checks import (
    EVERYTHING,
    Part,
    anon_vma_chain,
    coverage,
    heap,
    huge_in_vma,
    interval_tree,
    mapcounts,
    rights,
    shared_in_vma,
    stale_translations,
    swap_counts,
    vma_index,
)
from sugarbush.vm.frames import is_huge_zero_frame, stale_mirrors
from sugarbush.vm.objects import Folio, Memory, MmStruct, VmArea


class When(Enum):
    """When a check looks: the first moment at which what it says must hold again."""

    OPERATION = "where the model or the runtime asserts it"
    REACH = "whenever the rmap lock is free, and something that it guards has changed"
    SETTLED = "when `mmap_lock` is given back after a write, or downgraded"
    UNHELD = "when every `mmap_lock` is free after a write"
    FREED = "when a frame is freed"
    END = "at the end of the execution"


@dataclass(slots=True)
class View:
    """What a look is shown: the machine, and which part of it may have changed since the last look of its kind.

    The observer has one for each execution and sets the fields of a moment before it looks. At `When.REACH` these are
    `part`, with `lock` if all that an rmap lock guards may have changed, or `vma` if one VMA has; at `When.SETTLED`
    and `When.UNHELD` `settled`; at `When.FREED` `frame`.
    """

    mms: list[MmStruct] = field(default_factory=list)
    """The address spaces to look at: all of the machine, or at `When.REACH` the one that has changed."""
    memory: Any = None
    part: Part = EVERYTHING
    lock: RwSemaphore | None = None
    vma: VmArea | None = None
    settled: list[MmStruct] = field(default_factory=list)
    """The address spaces that no writer is changing."""
    frame: Any = None
    sharing: bool = False
    """A page-table page has been shared in this execution."""
    adjusted: dict[VmArea, None] = field(default_factory=dict)
    """The VMAs whose range was written, and that were not freed. A dict, as its order is the order of the writes."""
    linked: set[MmStruct] = field(default_factory=set)
    """Where a VMA got or lost an anon_vma, or a link to one, and nobody has looked since. Only asked, never walked."""
    heaps: dict[MmStruct, tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)
    """The heap's end, and what was mapped, as they were for whoever holds mmap_lock to move it."""


Look = Callable[[View], str | None]
"""Gives a sentence that says what is wrong, or None."""


class Check(NamedTuple):
    """One check: its name for ``--without``, what it says, when it looks, and the look."""

    name: str
    says: str
    when: When = When.OPERATION
    look: Look | None = None
    kind: Kind = Kind.INVARIANT


def _in_caches_only(memory: Memory, folio: Folio) -> bool:
    """Only the swap cache, or the shrinker of the huge zero page, refers to the page: reclaim would find it there."""
    if is_huge_zero_frame(memory, folio):
        return bool(peek(memory.huge_zero, "refcount") == 1)
    return peek(folio, "swap") is not None and peek(folio, "refcount") == 1


def _first(answers: Iterable[str | None]) -> str | None:
    return next(filter(None, answers), None)


def _interval_trees(at: View) -> str | None:
    # Only a VMA whose range was written can stand in a tree under a range that is not its own.
    if at.lock is not None:
        lock = at.lock
        return _first(interval_tree(vma, lock) for vma in at.adjusted)
    return None if at.vma is None else interval_tree(at.vma)


def _moved_heaps(at: View) -> str | None:
    for mm in [mm for mm in at.heaps if mm.mmap_lock.exclusive is None]:
        wrong = heap(mm, *at.heaps.pop(mm))
        if wrong:
            return wrong
    return None


def _left_over(at: View) -> str | None:
    memory = at.memory
    free = set(map(id, memory.free_list))
    left = sum(id(folio) not in free and not _in_caches_only(memory, folio) for folio in memory.mem_map)
    return f"{left} frames never freed" if left else None


CHECK_TABLE = (
    Check(
        "interval-tree",
        "I3: the rmap trees have each VMA under the range of its fields, whenever their locks are free",
        When.REACH,
        _interval_trees,
    ),
    Check(
        "coverage",
        "I1: every page-table entry is within reach of its rmap tree whenever the rmap lock is free",
        When.REACH,
        lambda at: coverage(at.mms, at.memory, at.part),
    ),
    Check(
        "shared-in-vma",
        "I6: a page-table page that is shared lies wholly inside one VMA of each who shares it",
        When.REACH,
        lambda at: shared_in_vma(at.mms, at.memory, at.part) if at.sharing else None,
    ),
    Check(
        "vma-index",
        "I4: the tree of VMAs agrees with the VMAs, whenever mmap_lock is free",
        When.SETTLED,
        lambda at: _first(map(vma_index, at.settled)),
    ),
    Check(
        "anon-vma-chain",
        "I13: VMAs of one anon_vma have the same links, and a page is in one that its VMA links to",
        When.SETTLED,
        lambda at: _first(anon_vma_chain(mm) for mm in at.settled if mm in at.linked),
    ),
    Check(
        "brk",
        "I14: mm->brk and the mapped heap have moved together, whenever no writer holds mmap_lock",
        When.SETTLED,
        _moved_heaps,
    ),
    Check(
        "mapcount",
        "I7: each page is mapped as often as its mapcount says",
        When.SETTLED,
        lambda at: mapcounts(at.mms, at.memory),
    ),
    Check(
        "swap-count",
        "I7: as many entries name a swap slot as it counts",
        When.SETTLED,
        lambda at: swap_counts(at.mms, at.memory),
    ),
    Check(
        "rights",
        "I5, I10: nothing is mapped outside of all VMAs or for more than they permit, whenever mmap_lock is free",
        When.UNHELD,
        lambda at: _first(map(rights, at.mms)),
    ),
    Check(
        "huge-in-vma",
        "I6: a huge page lies wholly inside one VMA",
        When.UNHELD,
        lambda at: _first(map(huge_in_vma, at.mms)),
    ),
    Check(
        "tlb",
        "I8: no CPU uses, or could use, a translation of a page that was freed",
        When.FREED,
        lambda at: stale_translations(at.mms, at.frame),
    ),
    Check(
        "secondary-mmu",
        "no device uses, or could use, a mapping of a page that was freed",
        When.FREED,
        lambda at: stale_mirrors(at.mms, at.frame),
    ),
    Check("leak", "nothing is left over at the end", When.END, _left_over, Kind.LEAK),
    Check("migration-entry-locked", "I2: a migration entry names a locked page"),
    Check("migration-entry-owner", "I2: the locked page that a migration entry names is still the same one"),
    Check("bad-pmd", "what is taken for a page-table page is one"),
    Check("pmd-none", "nobody fills the upper entry that khugepaged has emptied"),
    Check("pmd-present", "an upper entry that is not present is taken for no page"),
    Check("unmap-folio", "nothing maps a folio that is being split"),
    Check(
        "pinned-exclusive",
        "a page that is pinned for writing is exclusive to its process until it is unpinned",
    ),
    Check("rss", "I7: no page is counted as resident in an address space that has ended"),
    Check(
        "private-data", "I11, I15: a process reads back what it wrote, and nothing where it gave a range up"
    ),
    Check("refcount", "no page is used or dropped without a reference"),
    Check("page-tables", "no page-table page is freed with entries in it"),
    Check(
        "vma-refcount",
        "no VMA is freed or attached while somebody has a reference, and none is dropped twice (era 6.15)",
    ),
    Check("lock-order", "I12: locks are taken in the order of mm/rmap.c"),
    Check("lockdep", "I12: the lock validator"),
    Check("atomic-sleep", "nothing sleeps under a spinlock or in an RCU reader"),
    Check("foreign", "no task uses a thread or lock of the operating system, which nobody explores"),
    Check("data-race", "plain accesses are ordered by something"),
    Check("rcu", "RCU pointers are read inside readers, and RCU is used by its rules"),
    Check("rcu-stall", "no grace period waits for too long"),
    Check("uninit", "nothing is read that its maker has not made known (weak memory)"),
    Check("use-after-free", "I9: no freed object is touched"),
    Check("double-free", "no object is freed twice"),
)
"""All checks. Those of one moment look in this order, and the first that finds something names the failure.

The order is part of what a recorded failure says: where both are broken, `interval-tree` is named and not `coverage`,
since a VMA that stands in its tree under a wrong range is what puts its pages out of reach.
"""

for _check in CHECK_TABLE:
    assert (_check.look is None) is (_check.when is When.OPERATION), (
        f"{_check.name}: a moment goes with a look"
    )

CHECKS = {check.name: check.says for check in CHECK_TABLE}
assert len(CHECKS) == len(CHECK_TABLE), (
    "two checks have one name: --without would switch off both, and one is not told"
)
"""The names that ``--without`` takes, and what each check says. A check that your own program raises is added here."""
