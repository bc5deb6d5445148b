"""What the sight of the model's checks leaves out is no part of what a look says."""

from __future__ import annotations

from random import Random

import pytest

from sugarbush.concurrency import Task
from sugarbush.stress.kit.sight import FREES, LINK, NAMES, SPARES, USES, ModelSight
from sugarbush.vm.access import USER_LOAD, USER_STORE
from sugarbush.vm.checks import Part, coverage, leaf_entries, stale_translations
from sugarbush.vm.frames import FLUSH_TLB, PMD_SET, PTE_CLEAR, PTE_SET, new_table
from sugarbush.vm.objects import (
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_READ,
    PTE_WRITE,
    AnonVma,
    Folio,
    Migration,
    MmStruct,
    PageTable,
    Pmd,
    Present,
    Pte,
    Swap,
)
from sugarbush.vm.vmas import boot

HEAP = 0x10_0000
FRAMES = 6
CPUS = [Task(number, f"cpu {number}", print) for number in range(2)]


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
            kinds = sight.kinds(CPUS[0], op, table, arg)
            for page in mm.memory.mem_map:
                concerned = names(table.entries[at], page) or names(after, page)
                assert bool(kinds & NAMES[page.pfn]) is concerned
                assert bool(sight.sees(kinds) & SPARES[page.pfn]) is concerned


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_pages_are_seen_by_who_names_them_only(number: int) -> None:
    sight = ModelSight(Looks())
    assert sight.sees(NAMES[number]) == SPARES[number]
    assert sight.sees(SPARES[number]) == NAMES[number]


# -- translations -----------------------------------------------------------------------------------------------------


def present(random: Random, mm: MmStruct) -> Present:
    page = random.choice(mm.memory.mem_map)
    return Present(page.pfn, page.generation, random.choice([PTE_READ, PTE_READ | PTE_WRITE | PTE_DIRTY]))


def translations(mm: MmStruct) -> set[tuple[int, int, int]]:
    return {(task.id, page, pte.pfn) for task, cpu in mm.tlb.items() for page, pte in cpu.items()}


def shuffle(random: Random, mm: MmStruct, table: PageTable) -> None:
    """Entries and translations as they come, or a huge page in place of the entries."""
    start = HEAP // mm.pmd_size
    table.entries[:] = [
        present(random, mm) if random.random() < 0.7 else entry(random, mm) for _ in table.entries
    ]
    mm.pmds[start] = Present(0, mm.memory.mem_map[0].generation, PTE_READ) if random.random() < 0.2 else table
    mm.tlb = {
        cpu: {HEAP + n * PAGE_SIZE: present(random, mm) for n in range(4) if random.random() < 0.5}
        for cpu in CPUS
    }


def test_an_access_says_of_which_pages_it_makes_and_ends_translations() -> None:
    mm, table = world()
    random, sight = Random(3), ModelSight(Looks())
    made = ended = 0
    for _ in range(2000):
        shuffle(random, mm, table)
        cpu, address = random.choice(CPUS), HEAP + random.randrange(4) * PAGE_SIZE
        op, arg = random.choice(
            [(USER_LOAD, address), (USER_STORE, (address, "token")), (FLUSH_TLB, (HEAP, address))]
        )
        kinds, before = sight.kinds(cpu, op, mm, arg), translations(mm)
        assert op.effect is not None
        op.effect(mm, cpu, arg)
        after = translations(mm)
        made, ended = made + len(after - before), ended + len(before - after)
        for _, _, pfn in before ^ after:
            assert kinds & USES[pfn]
        if not kinds:
            assert before == after
    assert made > 100
    assert ended > 100


def test_a_look_at_a_page_that_is_freed_says_nothing_of_translations_of_others() -> None:
    mm, table = world()
    random = Random(4)
    for page in mm.memory.mem_map:
        page.generation += 1
    for _ in range(300):
        shuffle(random, mm, table)
        for page in mm.memory.mem_map:
            used = any(pfn == page.pfn for _, _, pfn in translations(mm))
            page.generation += 1
            assert (stale_translations([mm], page) is not None) is used
            page.generation -= 1


@pytest.mark.parametrize("number", range(len(USES)))
def test_who_frees_a_page_sees_who_uses_it_only(number: int) -> None:
    sight = ModelSight(Looks())
    assert sight.sees(USES[number]) == FREES[number]
    assert sight.sees(FREES[number]) == USES[number]


def test_an_upper_entry_is_a_mere_link_where_nothing_is_mapped_before_and_after() -> None:
    mm, table = world()
    random, sight = Random(5), ModelSight(Looks())
    index = HEAP // mm.pmd_size
    links = 0
    for _ in range(500):
        empty = new_table(mm, HEAP)
        assert empty is not None
        table.entries[:] = [entry(random, mm) for _ in table.entries] if random.random() < 0.5 else [None] * 4
        ways: list[Pmd] = [None, empty, table, Present(0, 0, PTE_READ), Migration(0, 0)]
        old, new = random.choice(ways), random.choice(ways)
        mm.pmds = {} if old is None else {index: old}
        kinds, before = sight.kinds(CPUS[0], PMD_SET, mm, (index, new)), list(leaf_entries(mm))
        assert PMD_SET.effect is not None
        PMD_SET.effect(mm, CPUS[0], (index, new))
        nothing = not before and not list(leaf_entries(mm)) and not any(table.entries)
        if nothing:
            assert kinds == LINK
        if kinds == LINK:
            assert not before
            assert not list(leaf_entries(mm))
            links += 1
    assert links > 50
