"""What user space does: loads and stores, through what its CPU knows of the page tables.

A load or store is one step. It uses the translation that the CPU of the calling task keeps, if that permits the
access, even where the page tables say something else by now; or else what the page tables say, which the CPU then
keeps. As on x86, the processor sets the accessed bit of the entry when it fetches it, and the dirty bit before the
first store; for that it looks at the entry itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sugarbush.concurrency import Failure, Kind
from sugarbush.concurrency.lowlevel import Operation, checked, peek, perform, poke
from sugarbush.vm.access.page_fault import handle_user_fault
from sugarbush.vm.frames import pfn_to_page, pmd_index, pte_index
from sugarbush.vm.objects import (
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_READ,
    PTE_WRITE,
    PTE_YOUNG,
    ZERO_PFN,
    Folio,
    Migration,
    MmStruct,
    PageTable,
    Present,
)

if TYPE_CHECKING:
    from sugarbush.concurrency import Task
    from sugarbush.concurrency.core import Place

_STORE = PTE_WRITE | PTE_DIRTY


class Killed(Exception):
    """The process is killed by a signal; the message says why."""


def _walk(mm: MmStruct, address: int, *, write: bool) -> Present | None:
    """What the page tables say, if they permit the access; sets the accessed and dirty bits."""
    table = mm.pmds.get(pmd_index(mm, address))
    if isinstance(table, Present):
        return _walk_huge(mm, table, address, write=write)
    if not isinstance(table, PageTable):
        return None
    index = table.index(address)
    pte = table.entries[index]
    if not isinstance(pte, Present) or not pte.bits & (PTE_WRITE if write else PTE_READ):
        return None
    # The processor does this without any lock: that is why others change an entry that is present in one step
    # only.
    pte = table.entries[index] = pte.having(PTE_YOUNG | PTE_DIRTY if write else PTE_YOUNG)
    return pte


def _walk_huge(mm: MmStruct, pmd: Present, address: int, *, write: bool) -> Present | None:
    if not pmd.bits & (PTE_WRITE if write else PTE_READ):
        return None
    pmd = pmd.having(PTE_YOUNG | PTE_DIRTY if write else PTE_YOUNG)
    mm.pmds[pmd_index(mm, address)] = pmd
    page = mm.memory.mem_map[pmd.pfn + pte_index(mm, address)]
    # The head was freed: the entry is handed on as it is, and `_page` says that the access goes to freed
    # memory.
    if pmd.generation != mm.memory.mem_map[pmd.pfn].generation:
        return pmd
    return Present(page.pfn, page.generation, pmd.bits)


def _page(mm: MmStruct, task: Task, address: int, *, write: bool) -> Folio | None:
    """The page that an access goes to, or None for a fault."""
    cpu = mm.tlb.setdefault(task, {})
    page = address & -PAGE_SIZE
    pte = cpu.get(page)
    # A translation without dirty bit sends a store to the page tables, be it writable: as on x86 the bit is
    # set in the entry, and the entry looked at for that.
    if pte is None or (write and pte.bits & _STORE != _STORE):
        pte = _walk(mm, address, write=write)
        if pte is None:
            # A fault drops what the CPU had of the page: x86 does so for the address of the fault.
            cpu.pop(page, None)
            return None
        cpu[page] = pte
    # As pfn_to_page(), which would be one more call for each access.
    pfn = pte.pfn
    folio = mm.memory.zero_page if pfn == ZERO_PFN else mm.memory.mem_map[pfn]
    if folio.generation != pte.generation and checked("tlb"):
        raise Failure(
            Kind.INVARIANT,
            f"tlb: {mm.name} accesses {address:#x} in {folio.name}, which was freed and is not its own any more",
            check="tlb",
        )
    return folio


def _load(mm: MmStruct, task: Task, address: int) -> tuple[bool, object]:
    folio = _page(mm, task, address, write=False)
    return (False, None) if folio is None else (True, peek(folio, "token"))


def _store(mm: MmStruct, task: Task, arg: tuple[int, object]) -> bool:
    address, token = arg
    folio = _page(mm, task, address, write=True)
    if folio is None:
        return False
    poke(folio, "token", token)
    return True


def translations(mm: MmStruct, task: Task, address: int, *, write: bool) -> list[int]:
    """The numbers of the frames whose translation the next access of `task` makes its CPU keep, or forget.

    None if the CPU uses one that it has; two if it had one of another frame.
    """
    kept = mm.tlb.get(task, {}).get(address & -PAGE_SIZE)
    if kept is not None and not (write and kept.bits & _STORE != _STORE):
        return []
    found = [] if kept is None else [kept.pfn]
    table = mm.pmds.get(pmd_index(mm, address))
    right = PTE_WRITE if write else PTE_READ
    if isinstance(table, PageTable):
        entry = table.entries[table.index(address)]
        if isinstance(entry, Present) and entry.bits & right:
            found.append(entry.pfn)
    elif isinstance(table, Present) and table.bits & right:
        # The entry as it is, if its page was freed.
        found += [table.pfn, table.pfn + pte_index(mm, address)]
    return found


def _reaches(mm: MmStruct, task: Task, address: int, *, write: bool) -> list[Place] | None:
    """What an access touches. What a CPU keeps is its own, but for a flush, which changes that of all.

    The address is a place of its own. A program that stores to it and loads from it also compares what it reads
    with what it wrote (`stress.kit.process`); and where something is wrong the two accesses may go to different
    pages, so that no other place would make them conflict.
    """
    found: list[Place] = [
        (mm, "tlb", False),
        (mm, f"tlb of {task.id}", True),
        (mm, f"user page {address // PAGE_SIZE}", write),
    ]
    pte = mm.tlb.get(task, {}).get(address & -PAGE_SIZE)
    if pte is None or (write and pte.bits & _STORE != _STORE):
        table = mm.pmds.get(pmd_index(mm, address))
        found.append((mm, "pmd", False))
        # A huge entry: the access may change mm.pmds and any page of it, so nothing is said, and it meets
        # everything.
        if isinstance(table, (Present, Migration)):
            return None
        entry = None if table is None else table.entries[table.index(address)]
        pte = None
        if isinstance(entry, Present) and entry.bits & (PTE_WRITE if write else PTE_READ):
            pte = entry.having(PTE_YOUNG | PTE_DIRTY if write else PTE_YOUNG)
        if table is not None:
            found.append((table, "pte", pte is not None and pte is not entry))
    if pte is not None:
        folio = pfn_to_page(mm.memory, pte.pfn)
        found += [(folio, "generation", False), (folio, "token", write)]
    return found


def _loads(mm: MmStruct, task: Task, address: int) -> list[Place] | None:
    return _reaches(mm, task, address, write=False)


def _stores(mm: MmStruct, task: Task, arg: tuple[int, object]) -> list[Place] | None:
    return _reaches(mm, task, arg[0], write=True)


USER_LOAD = Operation("user_load", effect=_load, touches=_loads)
USER_STORE = Operation("user_store", effect=_store, touches=_stores)


def user_store(mm: MmStruct, address: int, token: object) -> None:
    """Write `token` over the page of `address`, faulting it in if need be; raises `Killed`."""
    while not perform(USER_STORE, mm, (address, token)):
        _fault(mm, address, write=True)


def user_load(mm: MmStruct, address: int) -> object:
    """Read the page of `address`, faulting it in if need be; raises `Killed`. A fresh page reads 0."""
    while True:
        there, token = perform(USER_LOAD, mm, address)
        if there:
            return token
        _fault(mm, address, write=False)


def _fault(mm: MmStruct, address: int, *, write: bool) -> None:
    error = handle_user_fault(mm, address & -PAGE_SIZE, write=write)
    if error:
        raise Killed(f"{mm.name}: signal at {address:#x} (error {error})")
