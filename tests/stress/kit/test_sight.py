"""What the sight of the model's checks leaves out is no part of what a look says."""

from __future__ import annotations

from random import Random

import pytest

from sugarbush.stress.kit.sight import NAMES, SPARES, ModelSight
from sugarbush.vm.checks import Part, coverage
from sugarbush.vm.frames import PTE_CLEAR, PTE_SET, new_table
from sugarbush.vm.objects import AnonVma, Folio, Migration, MmStruct, PageTable, Present, Pte, Swap
from sugarbush.vm.vmas import boot

HEAP = 0x10_0000
FRAMES = 6


def world() -> tuple[MmStruct, PageTable]:
    """An address space with one page-table page of four entries; all pages say that they are in an empty rmap tree."""
    mm = boot(FRAMES, ptrs_per_pte=4).add_mm("cc1", HEAP)
    table = new_table(mm, HEAP)
    assert table is not None
    mm.pmds[HEAP // mm.pmd_size] = table
    for page in mm.memory.mem_map:
        page.mapping = AnonVma()
    return mm, table


def entry(random: Random, mm: MmStruct) -> Pte:
    page = random.choice(mm.memory.mem_map)
    made: list[Pte] = [
        Present(page.pfn, page.generation),
        Migration(page.pfn, page.generation),
        Swap(0),
        None,
    ]
    return random.choice(made)


def names(pte: Pte, page: Folio) -> bool:
    return isinstance(pte, (Present, Migration)) and pte.pfn == page.pfn


def test_a_look_at_a_page_that_no_entry_names_says_nothing_whatever_the_entries_are() -> None:
    mm, table = world()
    random = Random(1)
    unnamed = found = 0
    for _ in range(400):
        table.entries[:] = [entry(random, mm) for _ in table.entries]
        for page in mm.memory.mem_map:
            wrong = coverage([mm], mm.memory, Part(folio=page))
            if any(names(pte, page) for pte in table.entries):
                assert wrong, "its tree is empty, so nothing finds it"
                found += 1
            else:
                assert wrong is None
                unnamed += 1
    assert unnamed > 300
    assert found > 300


class Looks:
    """As `ModelChecks`, as far as the sight asks."""

    written = False

    def is_named(self, page: Folio) -> bool:
        raise AssertionError(f"an operation on entries asks of {page}")


def test_what_changes_an_entry_sees_the_pages_that_it_named_and_names_then() -> None:
    mm, table = world()
    random, sight = Random(2), ModelSight(Looks())
    for _ in range(300):
        table.entries[:] = [entry(random, mm) for _ in table.entries]
        at, new = random.randrange(4), entry(random, mm)
        for op, arg, after in ((PTE_SET, (at, new), new), (PTE_CLEAR, at, None)):
            kinds = sight.kinds(op, table, arg)
            for page in mm.memory.mem_map:
                concerned = names(table.entries[at], page) or names(after, page)
                assert bool(kinds & NAMES[page.pfn]) is concerned
                assert bool(sight.sees(kinds) & SPARES[page.pfn]) is concerned


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_pages_are_seen_by_who_names_them_only(number: int) -> None:
    sight = ModelSight(Looks())
    assert sight.sees(NAMES[number]) == SPARES[number]
    assert sight.sees(SPARES[number]) == NAMES[number]
