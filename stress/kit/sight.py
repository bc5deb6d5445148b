"""What the invariants of the model look at, and after which operations: `ModelChecks` as a reduced search knows it.

Kinds of operations, and what is read in the looks after them (`stress.kit.checks`):

- RMAP: on the lock of an rmap tree. When it is given back: the entries, trees and VMAs that it guards. An attempt that
  fails, or only enters the queue, is of no kind: the lock is held before and after it, and nothing is looked at.
- ENTRY: changes an entry of a page-table page. The other entries of that page, where it is linked, and for each of the
  pages that they name its mapping, its tree, the VMAs in that, and the lock.
- UPPER: changes an upper entry. As ENTRY, for all of the address space.
- LINK: changes an upper entry that names no page-table page, or an empty one, to another of these. Nothing, as nothing
  is mapped there before or after; but ENTRY makes a page-table page empty or not, and UNLOCK reads its lock.
- PAGE: changes what a page is mapped by. All entries that name it, and the same of them.
- SPARES: as PAGE, of a page that no entry names. Nothing but that; so only what has an entry name this page, or name it
  no more, sees it (NAMES), and whether one names it, those change. A page is told by its number, modulo `_PAGES`.
- NAMES: changes which entries name a page. An operation on an upper entry counts for all pages. Nothing by itself: who
  is of this kind is of ENTRY or UPPER, too.
- TREE: changes an rmap tree, or what VMAs say of themselves. The same of all entries of their address space, or of that
  tree.
- LONE: what a VMA says of itself that is linked to no rmap tree and maps no file: one that is just being made, or whose
  last link is gone. Only whether it is linked, so what links and unlinks VMAs sees it (LINKS), and UNLOCK.
- GONE: frees a VMA that stands in no rmap tree and maps no file. Nothing: no look asks whether what it meets is freed.
  Only whether it is linked, so LINKS sees it. To free one that stands in a tree is of TREE.
- LINKS: changes the links of a VMA to rmap trees. Nothing by itself: it is of TREE, too.
- OWN: changes which anon_vma a VMA calls its own. Nothing; and only UNLOCK looks at that.
- UNLOCK: gives mmap_lock back, or downgrades it, where somebody has changed VMAs. All of the state.
- LOCK: anything else on an mmap_lock. Nothing; but UNLOCK reads whether they are free.
- INDEX: changes the tree of VMAs, or what an address space counts and knows of it. Nothing.
- HEAP: reads where the heap ends. What is mapped, which is compared with what UNLOCK finds.
- COUNT: changes how often a page is mapped, or a slot of the swap area used. Nothing.
- TABLE: on a page-table lock. Nothing; but UNLOCK reads whether they are free.
- USER: makes or ends translations of a CPU, or of a device. Nothing.
- USES: makes or ends one of this page. Nothing by itself: it is of USER, too.
- FREES: frees this page. The translations of it.
- BITS: changes what an entry permits. Nothing; and only UNLOCK looks at that, the others at which page it names.

An operation on an mmap_lock of a reader is UNLOCK only if a writer has left something to look at: whether it has is
changed by UNLOCK alone, which every operation on an mmap_lock sees. What is seen at the same place needs no mention:
two changes of one entry depend on each other in any case.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from sugarbush.concurrency import RwSemaphore, Spinlock, Task
from sugarbush.concurrency.core import Sight
from sugarbush.concurrency.locks import DOWNGRADE_WRITE, UP_READ, UP_WRITE, is_in_vain
from sugarbush.concurrency.lowlevel import Operation
from sugarbush.concurrency.memory import FREE, FREE_REUSABLE, FREE_STEPPED
from sugarbush.tree.core import operations as tree_operations
from sugarbush.vm.access import USER_LOAD, USER_STORE, translations
from sugarbush.vm.files import ADD_LOCKED, DELETE, I_MMAP_INSERT, I_MMAP_REMOVE, REMOVE_CLEAN
from sugarbush.vm.frames import COUNT as SWAP_COUNT
from sugarbush.vm.frames import (
    FLUSH_TLB,
    FREE_FRAME,
    PMD_SET,
    PTE_CHANGE,
    PTE_CLEAR,
    PTE_SET,
    SPTE_DROP,
    SPTE_SET,
)
from sugarbush.vm.huge import PMD_CHANGE, PMD_CLEAR, PTS_ADD
from sugarbush.vm.objects import Folio, Migration, MmStruct, PageTable, Pmd, Present, Pte, VmArea
from sugarbush.vm.reclaim import SWITCH
from sugarbush.vm.reverse import CHAIN_ADD, RB_INSERT, RB_REMOVE


class Checks(Protocol):
    """What is asked of the checks whose sight it is, `stress.kit.checks.ModelChecks`."""

    written: bool
    """A writer of mmap_lock has left something that nobody has looked at yet."""

    def is_named(self, page: Folio) -> bool:
        """Whether an entry names the page."""


RMAP, ENTRY, UPPER, PAGE, TREE, LONE, LINKS, OWN = (1 << bit for bit in range(8))
UNLOCK, LOCK, INDEX, HEAP, COUNT, TABLE, USER, LINK, BITS, GONE = (1 << bit for bit in range(8, 18))
_PAGES = 8
"""So many pages are told apart. The scenarios have a few; two of one number only count as one, which is right."""
_OTHERS = 18
NAMES, SPARES, USES, FREES = (
    tuple(1 << bit for bit in range(_OTHERS + which * _PAGES, _OTHERS + (which + 1) * _PAGES))
    for which in range(4)
)
_BITS = _OTHERS + 4 * _PAGES
_ALL_NAMES, _ALL_SPARES, _ALL_USES, _ALL_FREES = map(sum, (NAMES, SPARES, USES, FREES))

PAIRS = {
    RMAP: ENTRY | UPPER | PAGE | TREE,
    ENTRY: UPPER | PAGE | TREE | UNLOCK,
    UPPER: PAGE | TREE | UNLOCK,
    PAGE: TREE | UNLOCK,
    TREE: TREE | UNLOCK,
    LONE: LINKS | UNLOCK,
    GONE: LINKS,
    LINK: ENTRY | UNLOCK,
    UNLOCK: UNLOCK | LOCK | INDEX | HEAP | COUNT | TABLE | USER | BITS | OWN,
    INDEX: HEAP,
    **dict(zip(SPARES, NAMES, strict=True)),
    **dict(zip(USES, FREES, strict=True)),
}
"""For each kind those that see it, where they do not stand above it."""


def _writes(cls: Any, *names: str) -> list[Operation]:
    """The operations that write these fields."""
    return [
        op
        for name in names
        for op in (
            *(cls._fields[name].ops[how] for how in ("write", "write_once", "release")),
            *cls._fields[name].modify.values(),
        )
    ]


RMAP_LOCKS = ("anon_vma->rwsem", "mapping->i_mmap_rwsem", "hugetlbfs_i_mmap_rwsem_key")
_MMAP_LOCK = "mm->mmap_lock"
_TABLE_LOCKS = ("ptlock", "mm->page_table_lock")
RANGE = frozenset(_writes(VmArea, "vm_start", "vm_end", "vm_pgoff"))
_OF_ITSELF = frozenset([*RANGE, *_writes(VmArea, "vm_flags")])
VMA = _OF_ITSELF | {CHAIN_ADD}
"""Operations that change what a VMA says of itself, or its links."""
MAPPED_BY = frozenset(_writes(Folio, "mapping", "index"))

_KINDS: dict[Operation, int] = {
    **dict.fromkeys((PTE_SET, PTE_CLEAR), ENTRY),
    **dict.fromkeys((PMD_SET, PMD_CLEAR), UPPER | _ALL_NAMES),
    **dict.fromkeys((PTE_CHANGE, PMD_CHANGE), BITS),
    **dict.fromkeys(MAPPED_BY, PAGE),
    **dict.fromkeys((SWITCH, ADD_LOCKED, DELETE, REMOVE_CLEAN), PAGE),
    **dict.fromkeys((*_OF_ITSELF, I_MMAP_INSERT, I_MMAP_REMOVE, PTS_ADD), TREE),
    # A link is taken away in the turn of its removal from the tree.
    **dict.fromkeys((CHAIN_ADD, RB_INSERT, RB_REMOVE), TREE | LINKS),
    **dict.fromkeys(_writes(VmArea, "anon_vma"), OWN),
    **dict.fromkeys(
        (
            tree_operations.STORE_ROOT,
            tree_operations.STORE_SLOT,
            tree_operations.STORE_PIVOT,
            tree_operations.STORE_PARENT,
            tree_operations.MARK_DEAD,
            tree_operations.LINK_DEAD,
            tree_operations.WRITE_TREE,
            *_writes(MmStruct, "map_count", "start_brk", "brk"),
        ),
        INDEX,
    ),
    MmStruct._fields["brk"].ops["read"]: HEAP,
    **dict.fromkeys((*_writes(Folio, "mapcount", "entire_mapcount"), SWAP_COUNT), COUNT),
    **dict.fromkeys((FLUSH_TLB, USER_LOAD, USER_STORE), USER),
    # Which pages a device has translations of is not asked.
    **dict.fromkeys((SPTE_SET, SPTE_DROP), USER | _ALL_USES),
    FREE_FRAME: PAGE,
}


_ONLY_BITS = frozenset({PTE_CHANGE, PMD_CHANGE, USER_LOAD, USER_STORE})
"""Operations that change in an entry what it permits, or whether it was used; no check asks whether it was used."""


def _used(pfns: Iterable[int]) -> int:
    """Kinds of what makes or ends translations of these frames; 0 if of none."""
    found = 0
    for pfn in pfns:
        found |= USER | USES[pfn % _PAGES]
    return found


def maps_nothing(pmd: Pmd) -> bool:
    """Whether an upper entry is none, or that of an empty page-table page."""
    return pmd is None or (isinstance(pmd, PageTable) and not any(pmd.entries))


def _named(pte: Pte) -> int:
    """Of NAMES the one of the page that an entry names."""
    return NAMES[pte.pfn % _PAGES] if isinstance(pte, (Present, Migration)) else 0


def _is_linked(vma: VmArea) -> bool:
    """Whether it may stand in an rmap tree."""
    return bool(vma.anon_vma_chain) or vma.vm_file is not None


def _table_of_sights() -> dict[int, int]:
    seen = {1 << bit: 0 for bit in range(_BITS)}
    for kind, others in PAIRS.items():
        for other in seen:
            if others & other:
                seen[kind] |= other
                seen[other] |= kind
    return seen


_SEES = _table_of_sights()


class ModelSight(Sight):
    """The sight of `checks`."""

    bits = _BITS

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._all: dict[int, int] = {0: 0}

    def kinds(self, task: Task, op: Operation, obj: Any, arg: Any) -> int:
        """Classify `op` by what the mm's checks look at: a lock is known by its name, other operations by the table."""
        found = _KINDS.get(op, 0)
        if found == PAGE:
            return self._of_page(op, obj, arg)
        if found == ENTRY:
            # The entry that is written, which is known before the operation, and the one that is there.
            index, new = arg if op is PTE_SET else (arg, None)
            return ENTRY | _named(obj.entries[index]) | _named(new)
        if found == USER:
            return self._of_translations(task, op, obj, arg)
        if op is PMD_SET:
            index, pmd = arg
            return LINK if maps_nothing(pmd) and maps_nothing(obj.pmds.get(index)) else found
        if found == TREE and op in _OF_ITSELF:
            return TREE if _is_linked(obj) else LONE
        if found:
            return found
        if isinstance(obj, RwSemaphore):
            if obj.name in RMAP_LOCKS:
                return 0 if is_in_vain(op, obj) else RMAP
            if obj.name == _MMAP_LOCK:
                looks = op is UP_WRITE or op is DOWNGRADE_WRITE or (op is UP_READ and self._checks.written)
                return UNLOCK if looks else LOCK
        elif isinstance(obj, Spinlock):
            return TABLE if obj.name in _TABLE_LOCKS else 0
        elif op in (FREE, FREE_STEPPED, FREE_REUSABLE):
            freed = arg if op is FREE_REUSABLE else obj
            return 0 if not isinstance(freed, VmArea) else TREE if _is_linked(freed) else GONE
        return 0

    def _of_translations(self, task: Task, op: Operation, mm: MmStruct, arg: Any) -> int:
        """USER, and of USES those of the pages whose translations are made or ended."""
        if op is FLUSH_TLB:
            start, end = arg
            return _used(
                pte.pfn for cpu in mm.tlb.values() for page, pte in cpu.items() if start <= page < end
            )
        write = op is USER_STORE
        return _used(translations(mm, task, arg[0] if write else arg, write=write))

    def _of_page(self, op: Operation, obj: Any, arg: Any) -> int:
        """PAGE, if an entry names the page; else that of SPARES which is its."""
        if op in MAPPED_BY:
            page = obj
        elif op is ADD_LOCKED:
            page = arg[1]
        elif op is DELETE:
            page = obj.pages.get(arg)
            if page is None:
                return 0
        else:
            page = arg
        found = 0
        if op is FREE_FRAME:
            for one in page.pages:
                found |= FREES[one.pfn % _PAGES]
        return found | (PAGE if self._checks.is_named(page) else SPARES[page.pfn % _PAGES])

    def overlooks(self, op: Operation, attribute: str, change: int, look: int) -> bool:
        """No check looks at the list of address spaces, nor at what an operation on bits changes in an entry.

        A look after an operation on a page that no entry names goes through the entries for those that name it.
        """
        # An address space that is new, or torn down, has no entries, and nobody holds its locks.
        if attribute == "mms":
            return True
        # What changes whether one names the page is seen (SPARES, NAMES), so this is a change of other entries.
        unnamed = bool(look) and not look & ~(_ALL_SPARES | _ALL_FREES)
        # As for a page that is freed: those of other translations.
        if attribute == "tlb" and change & USER and look & _ALL_FREES:
            return not (change & _ALL_USES) << _PAGES & look
        # What begins or ceases to be linked is empty (LINK), and so is a page-table page that is freed, else that is a
        # failure by itself: a look that comes by it goes on as if it were not there.
        empty = (attribute == "pmds" and bool(change & LINK)) or (
            attribute == "entries" and op is FREE_STEPPED
        )
        return empty or (attribute in ("entries", "pmds") and (op in _ONLY_BITS or unnamed))

    def sees(self, kinds: int) -> int:
        """Join what each of `kinds` must keep its order against; a search asks for the same few again and again."""
        found = self._all.get(kinds)
        if found is None:
            found = 0
            for kind, seen in _SEES.items():
                if kinds & kind:
                    found |= seen
            self._all[kinds] = found
        return found
