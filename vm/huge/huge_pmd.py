"""The upper entry of a huge page, and the steps that change it. Kernel: mm/pgtable-generic.c, v6.1.

`page_table_lock` guards the upper entries. With each huge page a page-table page is deposited, so that it can be
mapped page by page at any time without allocating.
"""

from __future__ import annotations

from sugarbush.concurrency import bug_on
from sugarbush.concurrency.lowlevel import Operation, perform
from sugarbush.vm.frames import PMD_SET, flush_tlb_range, pmd_index
from sugarbush.vm.objects import PTE_RIGHTS, Folio, Memory, Migration, MmStruct, PageTable, Pmd, Present


def is_leaf(pmd: Pmd) -> bool:
    """The upper entry maps a huge page, or stands for one that is being moved."""
    return isinstance(pmd, (Present, Migration))


def deposit(mm: MmStruct, address: int, table: PageTable) -> None:
    """Keep a page-table page for the day when the huge page is split; needs `page_table_lock`.

    Kernel: pgtable_trans_huge_deposit().
    """
    mm.deposits[pmd_index(mm, address)] = table


def withdraw(mm: MmStruct, address: int) -> PageTable:
    """The page-table page that was deposited with a huge page; needs `page_table_lock`."""
    return mm.deposits.pop(pmd_index(mm, address))


def _change(mm: MmStruct, _task: object, arg: tuple[int, int, int]) -> Pmd:
    index, gained, lost = arg
    old = mm.pmds.get(index)
    # Of what is not present no bit means anything to the processor, so nobody races for it.
    if isinstance(old, Present):
        mm.pmds[index] = old.lacking(lost).having(gained)
    return old


def _get_and_clear(mm: MmStruct, _task: object, index: int) -> Pmd:
    return mm.pmds.pop(index, None)


PMD_CHANGE = Operation("pmdp_change", PMD_SET.access, field="pmd", effect=_change, local=True)
PMD_CLEAR = Operation(
    "pmdp_huge_get_and_clear", PMD_SET.access, field="pmd", effect=_get_and_clear, local=True
)


def change_pmd_bits(mm: MmStruct, address: int, *, gained: int = 0, lost: int = 0) -> Pmd:
    """Set and clear bits of a huge entry in one step, so that it never looks empty; gives the entry of before.

    Needs `page_table_lock`. Kernel: pmdp_invalidate() and set_pmd_at(), pmdp_set_wrprotect() and their like.
    """
    mm.page_table_lock.assert_held()
    pmd: Pmd = perform(PMD_CHANGE, mm, (pmd_index(mm, address), gained, lost))
    return pmd


def pmdp_huge_get_and_clear(mm: MmStruct, address: int) -> Pmd:
    """Empty the upper entry and give what was there, in one step; needs `page_table_lock`."""
    mm.page_table_lock.assert_held()
    pmd: Pmd = perform(PMD_CLEAR, mm, pmd_index(mm, address))
    return pmd


def maps(memory: Memory, pmd: Pmd, folio: Folio) -> bool:
    """The upper entry maps this folio. One that is being moved is not mapped, and has no folio to compare with."""
    # The order of the two: what a migration entry holds is no frame number that pmd_folio() could use
    # (pmd-migration-split, Z48).
    return isinstance(pmd, Present) and pmd_folio(memory, pmd) is folio


def pmdp_invalidate(mm: MmStruct, address: int) -> Present:
    """No CPU may use the huge entry from here on, yet it does not look empty; gives what it was.

    Needs `page_table_lock`; whoever faults on it meanwhile waits for that lock.
    """
    # Without rights, not without content: a CPU that comes now faults, and waits for the lock; a look without
    # the lock sees that something is here. With the flush no CPU can set the dirty bit any more, so what is
    # given is final.
    pmd = change_pmd_bits(mm, address, lost=PTE_RIGHTS)
    assert isinstance(pmd, Present)
    flush_tlb_range(mm, address, address + mm.pmd_size)
    return pmd


def pmd_folio(memory: Memory, pmd: Pmd) -> Folio:
    """The folio that a huge entry maps, which must be present: there is no page at what else the bits may say."""
    bug_on(
        not isinstance(pmd, Present),
        "BUG: unable to handle page fault: pmd_folio() of an entry that is not present",
        "pmd-present",
        f"the entry is {pmd}",
    )
    assert isinstance(pmd, (Present, Migration))
    return memory.mem_map[pmd.pfn]
