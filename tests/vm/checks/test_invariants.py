"""Each check sees a violation made by hand, in its own words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vm_world import HEAP, run_alone

from sugarbush.concurrency import Failure, Kind, check
from sugarbush.concurrency.lowlevel import poke, quiet
from sugarbush.vm.access.user import Killed, user_store
from sugarbush.vm.checks.invariants import coverage, mapcounts, vma_index
from sugarbush.vm.frames.page_alloc import folio_put
from sugarbush.vm.frames.pgtable import make_migration_entry, mk_pte, pfn_swap_entry_to_page
from sugarbush.vm.objects.folio import folio_get
from sugarbush.vm.objects.layout import PAGE_SIZE, VM_DATA_FLAGS
from sugarbush.vm.objects.mm_types import AnonVma, MmStruct, VmArea
from sugarbush.vm.objects.pgtable_types import PTE_READ, PageTable
from sugarbush.vm.reverse.anon_vma import (
    anon_vma_cache,
    anon_vma_lock_write,
    anon_vma_unlock_write,
    avc_cache,
)
from sugarbush.vm.reverse.anon_vma_chain import (
    anon_vma_chain_link,
    anon_vma_clone,
    anon_vma_prepare,
    unlink_anon_vmas,
)
from sugarbush.vm.reverse.interval_tree import interval_tree_remove
from sugarbush.vm.spaces.find import vma_find
from sugarbush.vm.spaces.mm import mmap_read_lock, mmap_read_unlock, mmap_write_lock, mmap_write_unlock
from sugarbush.vm.spaces.vma import vm_area_alloc, vm_area_free
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.mmap import do_mmap
from sugarbush.vm.vmas.adjust import vma_expand
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

World = tuple[Machine, MmStruct, VmArea, PageTable]


def world() -> World:
    """A heap of two pages, both filled: frames 0 and 1."""
    machine = boot(6)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + 2 * PAGE_SIZE)
    for number in range(2):
        user_store(mm, HEAP + number * PAGE_SIZE, number)
    with quiet():
        vma = mm.mm_mt.load(HEAP)
        assert vma is not None
    table = mm.pmds[HEAP // PAGE_SIZE // 2]
    assert isinstance(table, PageTable)
    return machine, mm, vma, table


def failure(program: Callable[[], None], *without: str) -> Failure:
    result = run_alone(program, without=without)
    assert len(result.failures) == 1
    return result.failures[0].failure


# -- the functions -----------------------------------------------------------------------------------------------------


def test_a_sound_world_has_nothing_to_complain_of() -> None:
    machine, mm, _, _ = world()
    with quiet():
        assert coverage(machine.mms, machine.memory) is None
        assert mapcounts(machine.mms, machine.memory) is None
        assert vma_index(mm) is None


def test_coverage_sees_a_vma_that_is_out_of_its_tree() -> None:
    machine, _, vma, _ = world()
    interval_tree_remove(vma.anon_vma_chain[0])
    wrong = coverage(machine.mms, machine.memory)
    assert wrong is not None
    assert "no VMA in the anon_vma interval tree of pfn0 covers cc1:0x100000" in wrong


@pytest.mark.parametrize(
    ("field", "value"), [("vm_end", HEAP + PAGE_SIZE), ("vm_start", HEAP + PAGE_SIZE), ("vm_pgoff", 7)]
)
def test_coverage_sees_a_vma_that_moved_away(field: str, value: int) -> None:
    machine, _, vma, _ = world()
    setattr(vma, field, value)
    assert coverage(machine.mms, machine.memory) is not None


def test_coverage_waits_until_the_rmap_lock_is_free() -> None:
    machine, _, vma, _ = world()
    assert vma.anon_vma is not None
    anon_vma_lock_write(vma.anon_vma)
    interval_tree_remove(vma.anon_vma_chain[0])
    assert coverage(machine.mms, machine.memory) is None
    anon_vma_unlock_write(vma.anon_vma)
    assert coverage(machine.mms, machine.memory) is not None


def test_coverage_counts_migration_entries() -> None:
    machine, _, vma, table = world()
    table.entries[1] = make_migration_entry(machine.memory.mem_map[1])
    vma.vm_end = HEAP + PAGE_SIZE
    wrong = coverage(machine.mms, machine.memory)
    assert wrong is not None
    assert "migration(pfn1)" in wrong


def test_vma_index_sees_a_vma_that_is_not_where_it_says() -> None:
    _, mm, vma, _ = world()
    vma.vm_end = HEAP + PAGE_SIZE
    with quiet():
        wrong = vma_index(mm)
    assert wrong == "cc1: the tree holds vma[0x100000, 0x101000) at [0x100000, 0x102000)"


def test_vma_index_sees_a_wrong_count() -> None:
    _, mm, _, _ = world()
    mm.map_count = 2
    with quiet():
        assert vma_index(mm) == "cc1: map_count is 2, the tree holds 1 VMAs"


def test_mapcounts_see_one_too_few_and_one_too_many() -> None:
    machine, _, _, table = world()
    machine.memory.mem_map[1].mapcount = 2
    assert mapcounts(machine.mms, machine.memory) == "pfn1: mapcount is 2, 1 entries map it"
    machine.memory.mem_map[1].mapcount = 1
    table.entries[1] = mk_pte(machine.memory.mem_map[0], PTE_READ)
    assert mapcounts(machine.mms, machine.memory) == "pfn0: mapcount is 1, 2 entries map it"


def test_mapcounts_wait_for_the_page_table_lock() -> None:
    machine, _, _, table = world()
    machine.memory.mem_map[1].mapcount = 2
    with table.ptl:
        assert mapcounts(machine.mms, machine.memory) is None


# -- the checks at work ------------------------------------------------------------------------------------------------


def test_a_run_fails_where_an_entry_goes_out_of_reach() -> None:
    def program() -> None:
        _, _, vma, _ = world()
        assert vma.anon_vma is not None
        anon_vma_lock_write(vma.anon_vma)
        interval_tree_remove(vma.anon_vma_chain[0])
        anon_vma_unlock_write(vma.anon_vma)

    found = failure(program, "leak")
    assert (found.kind, found.check) == (Kind.INVARIANT, "coverage")


def test_a_run_fails_when_mmap_lock_is_given_back_with_a_wrong_count() -> None:
    def program() -> None:
        _, mm, _, _ = world()
        mmap_write_lock(mm)
        mm.map_count += 1
        mmap_write_unlock(mm)

    assert failure(program, "leak").check == "vma-index"


def test_a_migration_entry_of_an_unlocked_page_is_the_kernels_bug() -> None:
    def program() -> None:
        machine, mm, _, table = world()
        table.entries[1] = make_migration_entry(machine.memory.mem_map[1])
        exit_mmap(mm)

    found = failure(program)
    assert found.check == "migration-entry-locked"
    assert "BUG_ON(is_migration_entry(entry) && !PageLocked(p))" in found.headline


def test_a_migration_entry_of_the_frames_next_owner_is_seen_although_it_is_locked() -> None:
    machine, _, _, _ = world()
    folio = machine.memory.mem_map[1]
    entry = make_migration_entry(folio)
    folio.generation += 1
    folio.lock.lock()
    with pytest.raises(Failure, match="stays silent"):
        pfn_swap_entry_to_page(machine.memory, entry)
    folio.lock.unlock()


def test_a_page_is_not_freed_while_it_is_mapped() -> None:
    machine, _, _, _ = world()
    with pytest.raises(Failure, match="Bad page state: pfn0 is freed with mapcount 1"):
        folio_put(machine.memory, machine.memory.mem_map[0])


def test_a_page_is_not_freed_while_it_is_locked() -> None:
    machine = boot(1)
    folio = machine.memory.mem_map[0]
    poke(folio, "refcount", 1)
    folio.lock.lock()
    with pytest.raises(Failure, match="PG_locked"):
        folio_put(machine.memory, folio)


def test_a_free_page_cannot_be_taken_or_dropped() -> None:
    machine = boot(1)
    with pytest.raises(Failure, match="used after free"):
        folio_get(machine.memory.mem_map[0])
    machine = boot(1)
    with pytest.raises(Failure, match=r"folio_ref_count\(pfn0\) < 0"):
        folio_put(machine.memory, machine.memory.mem_map[0])


def test_a_page_that_stays_counted_is_seen_at_exit() -> None:
    def program() -> None:
        _, mm, _, _ = world()
        mm.rss["MM_ANONPAGES"] += 1
        exit_mmap(mm)

    assert failure(program).headline == "BUG: Bad rss-counter state mm:cc1 type:MM_ANONPAGES val:1"


def test_a_lost_vma_and_a_lost_frame_are_leaks() -> None:
    def lost_vma() -> None:
        machine, mm, _, _ = world()
        exit_mmap(mm)
        vm_area_alloc(mm, HEAP, HEAP + PAGE_SIZE, 0, 0)
        machine.remove_mm(mm)

    def lost_frame() -> None:
        machine, mm, _, _ = world()
        folio_get(machine.memory.mem_map[0])
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert failure(lost_vma).headline == "leak: 1 of vm_area_struct never freed"
    assert failure(lost_frame).headline == "leak: 1 frames never freed"


# -- lock order --------------------------------------------------------------------------------------------------------


def test_a_lock_taken_against_the_order_is_reported_before_it_can_deadlock() -> None:
    def program() -> None:
        _, mm, vma, _ = world()
        assert vma.anon_vma is not None
        anon_vma_lock_write(vma.anon_vma)
        mmap_read_lock(mm)

    found = failure(program, "lockdep")
    assert (found.kind, found.check) == (Kind.LOCKDEP, "lock-order")
    assert "main asks for mm->mmap_lock while it holds anon_vma->rwsem" in found.headline
    assert (
        "mm->mmap_lock > hugetlbfs_i_rwsem > mm_all_locks_mutex > mapping->invalidate_lock > "
        "hugetlb_fault_mutex > hugetlb_vma_lock" in found.detail
    )


def test_a_folio_lock_under_the_rmap_lock_is_reported_but_a_trylock_is_not() -> None:
    def program() -> None:
        machine, _, vma, _ = world()
        assert vma.anon_vma is not None
        anon_vma_lock_write(vma.anon_vma)
        check(machine.memory.mem_map[0].lock.trylock(), "a trylock may be taken in any order")
        machine.memory.mem_map[0].lock.unlock()
        machine.memory.mem_map[0].lock.lock()

    assert failure(program).headline.startswith("lock order: main asks for folio_lock")


def test_the_order_that_the_model_uses_is_fine() -> None:
    def program() -> None:
        machine, mm, vma, table = world()
        folio = machine.memory.mem_map[0]
        mmap_read_lock(mm)
        folio.lock.lock()
        assert vma.anon_vma is not None
        anon_vma_lock_write(vma.anon_vma)
        with mm.page_table_lock, table.ptl:
            pass
        anon_vma_unlock_write(vma.anon_vma)
        folio.lock.unlock()
        mmap_read_unlock(mm)
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert run_alone(program).failures == []


# -- anon_vma ----------------------------------------------------------------------------------------------------------


def child_of(parent: AnonVma) -> AnonVma:
    """An anon_vma as fork makes it: under the parent's root, of which it holds a reference."""
    child = anon_vma_cache.alloc(0)
    assert child is not None
    child.root, child.parent = parent.root, parent
    parent.root.refcount += 1
    parent.num_children += 1
    return child


def test_a_root_outlives_its_children() -> None:
    def program() -> None:
        machine, mm, vma, _ = world()
        root = vma.anon_vma
        assert root is not None
        copy = vm_area_alloc(mm, vma.vm_start, vma.vm_end, vma.vm_pgoff, vma.vm_flags)
        assert copy is not None
        child = child_of(root)
        check(anon_vma_clone(copy, vma), "there is memory")
        avc = avc_cache.alloc(0)
        assert avc is not None
        anon_vma_lock_write(child)
        anon_vma_chain_link(copy, avc, child)
        child.num_active_vmas += 1
        anon_vma_unlock_write(child)
        copy.anon_vma = child
        check([link.anon_vma for link in copy.anon_vma_chain] == [child, root], "the newest comes first")
        exit_mmap(mm)
        check((root.refcount, root.num_active_vmas) == (2, 0), "the copy's link and the child keep the root")
        unlink_anon_vmas(copy)
        vm_area_free(copy)
        machine.remove_mm(mm)

    assert run_alone(program).failures == []


def test_vma_expand_inherits_the_anon_vma_before_it_locks() -> None:
    """Z03a: the pages of the swallowed VMA stay within reach, and the swallowed VMA leaves nothing behind."""

    def program() -> None:
        machine, mm, heap, _ = world()
        below = HEAP - PAGE_SIZE
        do_mmap(mm, below, PAGE_SIZE, VM_DATA_FLAGS)
        mmap_write_lock(mm)
        vma = vma_find(mm, below)
        assert vma is not None
        inherited = heap.anon_vma
        check(vma_expand(vma, below, heap.vm_end, vma.vm_pgoff, heap) == 0, "there is memory")
        check(vma.anon_vma is inherited, "the anon_vma of the pages")
        check(mm.map_count == 1, "one VMA is left")
        mmap_write_unlock(mm)
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert run_alone(program).failures == []


def test_vma_expand_without_memory_leaves_both_as_they_were() -> None:
    def program() -> None:
        machine = boot(6)
        mm = machine.add_mm("cc1", HEAP)
        below = HEAP - PAGE_SIZE
        sys_brk(mm, HEAP + PAGE_SIZE)
        try:
            user_store(mm, HEAP, "token")
        except Killed:
            pass
        with quiet():
            heap = mm.mm_mt.load(HEAP)
        if heap is not None and do_mmap(mm, below, PAGE_SIZE, VM_DATA_FLAGS) > 0:
            mmap_write_lock(mm)
            vma = vma_find(mm, below)
            assert vma is not None
            if vma_expand(vma, below, heap.vm_end, vma.vm_pgoff, heap) < 0:
                check(vma_find(mm, HEAP) is heap, "the heap is still there")
                check(vma.vm_end == HEAP, "the other one did not grow")
            mmap_write_unlock(mm)
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert run_alone(program, executions=100, faults=2).failures == []


def test_merging_follows_v6_1() -> None:
    """An untouched VMA below a touched one stays apart (it was allowed only years later); others become one."""
    machine = boot(4)
    mm = machine.add_mm("cc1", HEAP)
    first, second, third = (HEAP + number * PAGE_SIZE for number in range(3))
    do_mmap(mm, first, PAGE_SIZE, VM_DATA_FLAGS)
    do_mmap(mm, third, PAGE_SIZE, VM_DATA_FLAGS)
    do_mmap(mm, second, PAGE_SIZE, VM_DATA_FLAGS)
    assert mm.map_count == 1
    mm = machine.add_mm("as", HEAP)
    do_mmap(mm, third, PAGE_SIZE, VM_DATA_FLAGS)
    user_store(mm, third, 1)
    do_mmap(mm, first, PAGE_SIZE, VM_DATA_FLAGS)
    do_mmap(mm, second, PAGE_SIZE, VM_DATA_FLAGS)
    assert mm.map_count == 2
    with quiet():
        assert [(a, b + 1) for a, b, _ in mm.mm_mt] == [(first, second), (second, third + PAGE_SIZE)]


def test_anon_vma_prepare_does_nothing_twice() -> None:
    _, mm, vma, _ = world()
    before = vma.anon_vma
    mmap_read_lock(mm)
    assert anon_vma_prepare(vma)
    mmap_read_unlock(mm)
    assert vma.anon_vma is before
    assert len(vma.anon_vma_chain) == 1
