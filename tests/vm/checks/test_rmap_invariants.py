"""The links between VMAs, their rmap trees and the heap's end: each check sees a violation made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import Failure, Kind, check
from sugarbush.concurrency.lowlevel import domain, quiet
from sugarbush.vm.access.user import user_store
from sugarbush.vm.checks.invariants import heap, mapped
from sugarbush.vm.checks.rmap_invariants import anon_vma_chain, interval_tree
from sugarbush.vm.files.filemap import fput, i_mmap_lock_read, i_mmap_unlock_read
from sugarbush.vm.frames.pgtable import pmd_index, ptep_get
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import AddressSpace, MmStruct, VmArea
from sugarbush.vm.objects.pgtable_types import PageTable
from sugarbush.vm.reverse.anon_vma import (
    anon_vma_cache,
    anon_vma_lock_write,
    anon_vma_unlock_write,
    avc_cache,
)
from sugarbush.vm.reverse.anon_vma_chain import anon_vma_chain_link
from sugarbush.vm.spaces.mm import (
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_downgrade,
    mmap_write_lock,
    mmap_write_unlock,
)
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.mman import MAP_FIXED, MAP_SHARED
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot
from sugarbush.vm.vmas.munmap import do_mas_munmap, do_munmap

ABOVE = HEAP + 8 * PAGE_SIZE


def world() -> tuple[Machine, MmStruct, VmArea]:
    """A heap of three pages, all filled."""
    machine = boot(8)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + 3 * PAGE_SIZE)
    for number in range(3):
        user_store(mm, HEAP + number * PAGE_SIZE, number)
    return machine, mm, vma_at(mm, HEAP)


def vma_at(mm: MmStruct, address: int) -> VmArea:
    with quiet():
        vma = mm.mm_mt.load(address)
    assert vma is not None
    return vma


def link_to_another(vma: VmArea) -> None:
    """A link to an anon_vma that is of no use to `vma`, which keeps its own."""
    other, avc = anon_vma_cache.alloc(0), avc_cache.alloc(0)
    assert other is not None
    assert avc is not None
    other.num_children += 1
    anon_vma_lock_write(other)
    anon_vma_chain_link(vma, avc, other)
    anon_vma_unlock_write(other)


def nobody_looked(mm: MmStruct) -> None:
    """The next operation, before which the state is looked at, and the end."""
    check(mm.brk, "a heap")
    raise AssertionError("nobody looked")


def failure(program: object, *without: str) -> Failure:
    assert callable(program)
    result = run_alone(program, without=("leak", "data-race", *without))
    assert len(result.failures) == 1
    return result.failures[0].failure


# -- I3: the trees have a VMA where its fields say ---------------------------------------------------------------------


@pytest.mark.parametrize("field", ["vm_start", "vm_end", "vm_pgoff"])
def test_a_field_that_changes_under_no_rmap_lock_is_seen(field: str) -> None:
    def program() -> None:
        _, mm, vma = world()
        mmap_write_lock(mm)
        setattr(vma, field, getattr(vma, field) + (1 if field == "vm_pgoff" else PAGE_SIZE))
        mmap_write_unlock(mm)

    found = failure(program, "coverage")
    assert (found.kind, found.check) == (Kind.INVARIANT, "interval-tree")
    assert "cc1: the anon_vma interval tree has vma[" in found.headline
    rest = run_alone(program, without=("leak", "data-race", "coverage", "interval-tree")).failures
    assert all(one.failure.check != "interval-tree" for one in rest)


def test_it_is_not_looked_at_while_the_lock_is_held_and_it_is_when_that_ends() -> None:
    def program() -> None:
        _, mm, vma = world()
        assert vma.anon_vma is not None
        mmap_write_lock(mm)
        anon_vma_lock_write(vma.anon_vma)
        vma.vm_end -= PAGE_SIZE
        with quiet():
            assert interval_tree(vma) is None
        anon_vma_unlock_write(vma.anon_vma)
        nobody_looked(mm)

    assert failure(program, "coverage").check == "interval-tree"


def test_a_mapping_of_a_file_is_looked_at_when_the_walk_beside_it_ends() -> None:
    def program() -> None:
        machine, mm, _ = world()
        file = AddressSpace("data")
        assert sys_mmap(mm, ABOVE, 2 * PAGE_SIZE, 3, MAP_SHARED | MAP_FIXED, file) == ABOVE
        vma = vma_at(mm, ABOVE)
        mmap_write_lock(mm)
        i_mmap_lock_read(file)
        vma.vm_pgoff += 1
        fput(machine.memory, file)
        i_mmap_unlock_read(file)
        nobody_looked(mm)

    found = failure(program)
    assert found.check == "interval-tree"
    assert "the i_mmap interval tree has" in found.headline
    assert "under the pages 0..1, its fields say 1..2" in found.headline


# -- I9: nothing is touched after it was freed -------------------------------------------------------------------------


def freed_vma(mm: MmStruct, vma: VmArea) -> int:
    sys_brk(mm, HEAP)
    return vma.vm_start


def freed_link(mm: MmStruct, vma: VmArea) -> object:
    link = vma.anon_vma_chain[0]
    sys_brk(mm, HEAP)
    return link.anon_vma


def freed_page_table(mm: MmStruct, vma: VmArea) -> object:
    table = mm.pmds[pmd_index(mm, vma.vm_start)]
    assert isinstance(table, PageTable)
    sys_brk(mm, HEAP)
    return ptep_get(table, HEAP)


def freed_address_space(mm: MmStruct, _vma: VmArea) -> object:
    exit_mmap(mm)
    domain(Machine).remove_mm(mm)
    return mm.mmap_lock


@pytest.mark.parametrize("touch", [freed_vma, freed_link, freed_page_table, freed_address_space])
def test_a_touch_after_the_free_is_seen_and_can_be_switched_off(
    touch: Callable[[MmStruct, VmArea], object],
) -> None:
    def program() -> None:
        _, mm, vma = world()
        touch(mm, vma)

    found = failure(program)
    assert (found.kind, found.check) == (Kind.USE_AFTER_FREE, "use-after-free")
    assert run_alone(program, without=("leak", "data-race", "use-after-free")).failures == []


# -- I13: links and anon_vmas ------------------------------------------------------------------------------------------


def test_two_vmas_of_one_anon_vma_have_the_same_links() -> None:
    _, mm, vma = world()
    sys_mprotect(mm, HEAP + PAGE_SIZE, PAGE_SIZE, 1)
    with quiet():
        assert anon_vma_chain(mm) is None
    link_to_another(vma)
    with quiet():
        wrong = anon_vma_chain(mm)
    assert wrong is not None
    assert (
        "vma[0x100000, 0x101000) and vma[0x101000, 0x102000) have the same anon_vma, and different" in wrong
    )


def test_the_same_in_a_run_when_mmap_lock_is_given_back() -> None:
    def program() -> None:
        _, mm, vma = world()
        sys_mprotect(mm, HEAP + PAGE_SIZE, PAGE_SIZE, 1)
        mmap_write_lock(mm)
        link_to_another(vma)
        mmap_write_downgrade(mm)
        nobody_looked(mm)

    assert failure(program).check == "anon-vma-chain"


def test_a_page_is_in_an_anon_vma_that_its_vma_is_linked_to() -> None:
    machine, mm, vma = world()
    child = sys_fork(machine, mm, "as")
    assert child is not None
    user_store(child, HEAP, "the child's own")
    with quiet():
        assert anon_vma_chain(mm) is anon_vma_chain(child) is None
        own = next(folio for folio in machine.memory.mem_map if folio.token == "the child's own")
        machine.memory.mem_map[0].mapping = own.mapping
        assert anon_vma_chain(child) is None
        assert anon_vma_chain(mm) == (
            f"cc1: pfn0 is at {HEAP:#x}, and {vma.name} is not linked to its anon_vma"
        )


# -- I14: the heap's end -----------------------------------------------------------------------------------------------


def test_brk_that_is_stored_after_the_downgrade_is_seen_by_whoever_reads() -> None:
    def program() -> None:
        _, mm, _ = world()
        mmap_write_lock(mm)
        origin = mm.brk
        do_mas_munmap(mm, origin - PAGE_SIZE, PAGE_SIZE)
        mmap_write_downgrade(mm)
        mm.brk = origin - PAGE_SIZE
        nobody_looked(mm)

    found = failure(program)
    assert (found.kind, found.check) == (Kind.INVARIANT, "brk")
    assert found.headline == (
        "brk: cc1: brk went from 0x103000 to 0x103000, "
        "what is mapped from [0x100000, 0x103000) to [0x100000, 0x102000)"
    )


@pytest.mark.parametrize("brk", [HEAP + PAGE_SIZE, HEAP + 5 * PAGE_SIZE, HEAP - PAGE_SIZE])
def test_brk_that_moves_alone_is_seen(brk: int) -> None:
    def program() -> None:
        _, mm, _ = world()
        mmap_write_lock(mm)
        assert mm.brk
        mm.brk = brk
        mmap_write_unlock(mm)
        nobody_looked(mm)

    assert failure(program).check == "brk"
    assert failure(program, "brk").headline == "AssertionError: nobody looked"


def test_something_else_must_not_move_with_the_heap() -> None:
    _, mm, _ = world()
    with quiet():
        before = mapped(mm)
        assert heap(mm, mm.brk, before) is None
        assert heap(mm, mm.brk, [*before, (ABOVE, ABOVE + PAGE_SIZE)]) is not None


def test_a_heap_with_holes_and_other_mappings_moves_as_it_should() -> None:
    def program() -> None:
        machine, mm, _ = world()
        do_munmap(mm, HEAP + PAGE_SIZE, PAGE_SIZE)
        assert sys_brk(mm, HEAP + PAGE_SIZE + 5) == HEAP + PAGE_SIZE + 5
        assert sys_brk(mm, HEAP + 4 * PAGE_SIZE) == HEAP + 4 * PAGE_SIZE
        do_munmap(mm, HEAP + PAGE_SIZE, 3 * PAGE_SIZE)
        assert sys_brk(mm, HEAP + 2 * PAGE_SIZE) == HEAP + 4 * PAGE_SIZE
        mmap_read_lock(mm)
        mmap_read_unlock(mm)
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert_clean(run_alone(program))
