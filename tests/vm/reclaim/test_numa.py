"""NUMA balancing: entries that make the next access fault, and pages that move to the node they are used from."""

from __future__ import annotations

from functools import partial

import pytest
from vm_world import HEAP, assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import active, quiet
from sugarbush.vm.access.gup import pin_user_page, unpin_user_page
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.frames.page_alloc import alloc_folio, folio_put, page_to_nid
from sugarbush.vm.frames.pgtable import ptep_get, ptep_get_and_clear, set_pte
from sugarbush.vm.frames.swap import swapon
from sugarbush.vm.huge.huge_zero import shrink_huge_zero_page_scan
from sugarbush.vm.huge.khugepaged import collapse_huge_page
from sugarbush.vm.objects.folio import Folio, folio_get
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MmStruct, VmArea
from sugarbush.vm.objects.pgtable_types import PTE_YOUNG, PageTable, Present, Pte
from sugarbush.vm.reclaim import numa
from sugarbush.vm.reclaim.huge_split import split_huge_page
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.numa import task_numa_work
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.spaces.mm import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import MADV_DONTNEED, MADV_HUGEPAGE, PROT_NONE, PROT_READ, PROT_WRITE
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

FRAMES = 16
PAGES = 4
TOKENS = [f"token {number}" for number in range(PAGES)]
SIZES = pytest.mark.parametrize("huge", [False, True], ids=["small", "huge"])
STRATEGIES = pytest.mark.parametrize("strategy", ["pct", "random"])


def page(number: int) -> int:
    return HEAP + number * PAGE_SIZE


def started(*, huge: bool, nodes: int = 2, era: str = "6.1") -> tuple[Machine, MmStruct]:
    """A heap of four pages, frames 0 to 3, which are on node 0; frames 8 to 15 are on node 1."""
    machine = boot(FRAMES, era, nodes)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, page(PAGES))
    if huge:
        sys_madvise(mm, HEAP, PAGES * PAGE_SIZE, MADV_HUGEPAGE)
    for number, token in enumerate(TOKENS):
        user_store(mm, page(number), token)
    return machine, mm


def ended(machine: Machine, *mms: MmStruct) -> None:
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)
    shrink_huge_zero_page_scan(machine.memory)
    check(len(machine.memory.free_list) == FRAMES, "all frames are free")


def entry(mm: MmStruct, address: int) -> Pte:
    """The entry of the address, of whichever level."""
    with quiet():
        pmd = mm.pmds.get(address // mm.pmd_size)
        return pmd.entries[pmd.index(address)] if isinstance(pmd, PageTable) else pmd


def is_hint(mm: MmStruct, address: int) -> bool:
    pte = entry(mm, address)
    return isinstance(pte, Present) and pte.protnone


def node(mm: MmStruct, address: int) -> int:
    """Where the page is that the address is mapped to."""
    pte = entry(mm, address)
    assert isinstance(pte, Present)
    return page_to_nid(mm.memory, mm.memory.mem_map[pte.pfn])


def contents(mm: MmStruct) -> list[object]:
    return [user_load(mm, page(number)) for number in range(PAGES)]


def use_from(monkeypatch: pytest.MonkeyPatch, nid: int) -> None:
    """All faults come from this node."""
    monkeypatch.setattr(numa, "numa_node_id", lambda _memory: nid)


@SIZES
def test_a_hint_maps_the_page_and_gives_no_access(huge: bool) -> None:
    def program() -> None:
        machine, mm = started(huge=huge)
        check(task_numa_work(mm), "done")
        check(all(is_hint(mm, page(number)) for number in range(PAGES)), "present, without rights")
        check(not any(mm.tlb.values()), "no CPU has a translation")
        assert_invariants(machine)
        before = entry(mm, HEAP)
        task_numa_work(mm)
        check(entry(mm, HEAP) == before, "a hint stays one")
        ended(machine, mm)

    assert_clean(run_alone(program))


@SIZES
def test_an_access_from_the_page_s_node_gives_the_rights_back(
    huge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_from(monkeypatch, 0)

    def program() -> None:
        machine, mm = started(huge=huge)
        task_numa_work(mm)
        check(contents(mm) == TOKENS, "content")
        check(not any(is_hint(mm, page(number)) for number in range(PAGES)), "no hint is left")
        check(node(mm, HEAP) == 0, "where it was")
        task_numa_work(mm)
        user_store(mm, HEAP, "stored")
        check(contents(mm) == ["stored", *TOKENS[1:]], "content")
        check(len(machine.memory.free_list) == FRAMES - PAGES, "nothing was copied")
        ended(machine, mm)

    assert_clean(run_alone(program))


@SIZES
@pytest.mark.parametrize("era", ["5.19", "6.1", "6.6"])
def test_an_access_from_another_node_moves_the_page_there(
    huge: bool, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_from(monkeypatch, 1)

    def program() -> None:
        machine, mm = started(huge=huge, era=era)
        task_numa_work(mm)
        user_store(mm, HEAP, "stored")
        check(node(mm, HEAP) == 1, "moved")
        check(node(mm, page(2)) == 0, "nobody used it")
        check(contents(mm) == ["stored", *TOKENS[1:]], "content")
        check({node(mm, page(number)) for number in range(PAGES)} == {1}, "all moved")
        check(len(machine.memory.free_list) == FRAMES - PAGES, "the old frames are free")
        assert_invariants(machine)
        ended(machine, mm)

    assert_clean(run_alone(program))


@SIZES
def test_which_node_a_fault_comes_from_is_a_choice(huge: bool) -> None:
    seen: set[int] = set()

    def program(nodes: int = 2) -> None:
        machine, mm = started(huge=huge, nodes=nodes)
        task_numa_work(mm)
        user_load(mm, HEAP)
        seen.add(node(mm, HEAP))
        ended(machine, mm)

    assert_clean(run_alone(program, executions=20))
    assert seen == {0, 1}
    seen.clear()
    assert_clean(run_alone(lambda: program(nodes=1), executions=20))
    assert seen == {0}


@SIZES
def test_a_page_stays_if_the_other_node_is_full(huge: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use_from(monkeypatch, 1)

    def program() -> None:
        machine, mm = started(huge=huge)
        memory = machine.memory
        taken = [alloc_folio(memory, nid=1) for _ in range(FRAMES // 2)]
        check(alloc_folio(memory, nid=1) is None, "node 1 is full, node 0 is not")
        task_numa_work(mm)
        user_store(mm, HEAP, "stored")
        check(contents(mm) == ["stored", *TOKENS[1:]], "content")
        check(node(mm, HEAP) == 0, "where it was")
        for folio in taken:
            assert folio is not None
            folio_put(memory, folio)
        ended(machine, mm)

    assert_clean(run_alone(program))


@SIZES
def test_without_memory_the_page_stays(huge: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use_from(monkeypatch, 1)
    seen: set[int] = set()

    def program() -> None:
        machine, mm = started(huge=huge)
        task_numa_work(mm)
        assert active.runtime is not None
        active.runtime.faults = 1
        check(contents(mm) == TOKENS, "content")
        seen.update(node(mm, page(number)) for number in range(PAGES))
        ended(machine, mm)

    assert_clean(run_alone(program, executions=20))
    assert seen == {0, 1}


@SIZES
def test_fork_hands_hints_on_and_what_is_shared_whole_stays(
    huge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_from(monkeypatch, 1)

    def program() -> None:
        machine, mm = started(huge=huge)
        task_numa_work(mm)
        child = sys_fork(machine, mm, "as")
        assert child is not None
        check(is_hint(mm, HEAP) and is_hint(child, HEAP), "both")
        user_store(child, HEAP, "child")
        check(contents(mm) == TOKENS, "the parent's")
        check(contents(child) == ["child", *TOKENS[1:]], "the child's")
        check(node(mm, page(2)) == (0 if huge else 1), "a huge page that two processes map stays")
        check(node(child, page(2)) == node(mm, page(2)), "and is still one page")
        assert_invariants(machine)
        task_numa_work(mm)
        check(is_hint(mm, page(2)) == huge, "a small page that is shared gets no hint")
        ended(machine, mm, child)

    assert_clean(run_alone(program))


@SIZES
def test_mprotect_over_hints(huge: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use_from(monkeypatch, 1)

    def program() -> None:
        machine, mm = started(huge=huge)
        task_numa_work(mm)
        sys_mprotect(mm, HEAP, mm.pmd_size, PROT_READ)
        check(not is_hint(mm, HEAP), "the hint is gone")
        check(user_load(mm, HEAP) == TOKENS[0], "readable")
        with pytest.raises(Killed):
            user_store(mm, HEAP, "forbidden")
        task_numa_work(mm)
        with pytest.raises(Killed):
            user_store(mm, HEAP, "forbidden")
        sys_mprotect(mm, HEAP, mm.pmd_size, PROT_NONE)
        with pytest.raises(Killed):
            user_load(mm, HEAP)
        task_numa_work(mm)
        with pytest.raises(Killed):
            user_load(mm, HEAP)
        check(node(mm, HEAP) == 0, "what permits nothing gives no hints")
        sys_mprotect(mm, HEAP, mm.pmd_size, PROT_READ | PROT_WRITE)
        user_store(mm, HEAP, "stored")
        check(contents(mm) == ["stored", *TOKENS[1:]], "content")
        ended(machine, mm)

    assert_clean(run_alone(program))


@SIZES
def test_a_pin_takes_the_hint_and_keeps_the_page(huge: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use_from(monkeypatch, 0)

    def program() -> None:
        machine, mm = started(huge=huge)
        task_numa_work(mm)
        pinned = pin_user_page(mm, HEAP)
        assert isinstance(pinned, Folio)
        check(not is_hint(mm, HEAP), "it was faulted in")
        task_numa_work(mm)
        use_from(monkeypatch, 1)
        user_store(mm, HEAP, "stored")
        check(node(mm, HEAP) == 0, "a pinned page stays")
        check(pinned.token == "stored", "the same page")
        unpin_user_page(machine.memory, pinned)
        use_from(monkeypatch, 0)
        ended(machine, mm)

    assert_clean(run_alone(program))


@SIZES
def test_hints_are_zapped_swapped_moved_and_collapsed_as_others(
    huge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_from(monkeypatch, 0)

    def program() -> None:
        machine, mm = started(huge=huge)
        memory = machine.memory
        swapon(memory, PAGES)
        task_numa_work(mm)
        if huge:
            folio = memory.mem_map[0]
            folio_get(folio)
            folio.lock.lock()
            check(split_huge_page(memory, folio) == 0, "split")
            folio.lock.unlock()
            folio_put(memory, folio)
        check(contents(mm)[:2] == TOKENS[:2], "content")
        task_numa_work(mm)
        compact_zone(memory)
        check(contents(mm) == TOKENS, "content after the moves")
        task_numa_work(mm)
        sys_madvise(mm, HEAP, PAGES * PAGE_SIZE, MADV_HUGEPAGE)
        if not huge:
            # A range in which nothing may be written is left alone (SCAN_PAGE_RO), and a hint takes that right away.
            user_store(mm, HEAP, TOKENS[0])
            check(collapse_huge_page(mm, HEAP) == 0, "collapsed")
        check(contents(mm) == TOKENS, "content after the collapse")
        task_numa_work(mm)
        kswapd(memory, PAGES)
        check(contents(mm) == TOKENS, "content after swap")
        task_numa_work(mm)
        sys_madvise(mm, HEAP, PAGES * PAGE_SIZE, MADV_DONTNEED)
        check(contents(mm) == [0] * PAGES, "given up")
        task_numa_work(mm)
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_a_busy_address_space_is_left_alone() -> None:
    def program() -> None:
        machine, mm = started(huge=False)
        mmap_write_lock(mm)
        (done,) = join(spawn(task_numa_work, mm))
        mmap_write_unlock(mm)
        check(not done, "mmap_lock is only tried")
        check(not is_hint(mm, HEAP), "no hints")
        ended(machine, mm)

    assert_clean(run_alone(program))


def everything_at_once(*, huge: bool, era: str = "6.1") -> None:
    """Two threads use each other's pages, beside another scan, mprotect, MADV_DONTNEED and compaction."""

    def use(mm: MmStruct, number: int) -> None:
        for step in range(2):
            user_load(mm, page(1 - number))
            user_store(mm, page(number), f"{number}.{step}")
            check(user_load(mm, page(number)) == f"{number}.{step}", "a thread reads back what it wrote")

    def cut(mm: MmStruct) -> None:
        user_load(mm, page(2))
        sys_mprotect(mm, page(2), PAGE_SIZE, PROT_READ)
        sys_madvise(mm, page(3), PAGE_SIZE, MADV_DONTNEED)

    machine, mm = started(huge=huge, era=era)
    task_numa_work(mm)
    join(
        spawn(use, mm, 0, name="cc1"),
        spawn(use, mm, 1, name="as"),
        spawn(cut, mm, name="cut"),
        spawn(task_numa_work, mm, name="balance"),
        spawn(compact_zone, machine.memory, name="kcompactd"),
    )
    check(contents(mm) == ["0.1", "1.1", TOKENS[2], 0], "content")
    ended(machine, mm)


def faults_beside_dontneed(*, huge: bool, full: bool) -> None:
    """Two faults on one page, from whichever nodes, while it is given up; `full`: node 1 has no room."""
    machine, mm = started(huge=huge)
    task_numa_work(mm)
    taken = [alloc_folio(machine.memory, nid=1) for _ in range(FRAMES // 2 if full else 0)]
    join(
        spawn(user_load, mm, HEAP, name="cc1"),
        spawn(user_load, mm, page(1) if huge else HEAP, name="as"),
        spawn(sys_madvise, mm, HEAP, mm.pmd_size, MADV_DONTNEED, name="drop"),
    )
    check(contents(mm) == [0, 0, *TOKENS[2:]], "what was given up reads as fresh")
    for folio in taken:
        assert folio is not None
        folio_put(machine.memory, folio)
    ended(machine, mm)


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@SIZES
@STRATEGIES
@pytest.mark.parametrize("era", ["6.1", "6.6"])
def test_everything_at_once(huge: bool, strategy: str, era: str, executions: int) -> None:
    program = partial(everything_at_once, huge=huge, era=era)
    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [60, pytest.param(200, marks=pytest.mark.exhaustive)])
@SIZES
@STRATEGIES
@pytest.mark.parametrize("full", [False, True], ids=["room", "full"])
def test_two_faults_on_a_page_that_is_given_up(
    huge: bool, strategy: str, full: bool, executions: int
) -> None:
    program = partial(faults_beside_dontneed, huge=huge, full=full)
    assert_clean(run_alone(program, executions=executions, strategy=strategy))


def restore_unseen(vma: VmArea, table: PageTable, address: int, pte: Present) -> int:
    """`do_numa_page` that does not look at the entry again after a move that failed."""
    memory = vma.vm_mm.memory
    with table.ptl:
        if ptep_get(table, address) != pte:
            return 0
        target = numa.numa_migrate_prep(memory, memory.mem_map[pte.pfn])
    if target is None or not numa.migrate_misplaced_page(memory, memory.mem_map[pte.pfn], target):
        with table.ptl:
            ptep_get_and_clear(table, address)
            set_pte(table, address, pte.having(vma.vm_page_prot | PTE_YOUNG))
    return 0


def test_an_entry_that_is_restored_unseen_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sugarbush.vm.access.page_fault.do_numa_page", restore_unseen)
    result = run_alone(partial(faults_beside_dontneed, huge=False, full=True), executions=200)
    assert [one.failure.check for one in result.failures] == ["tlb"]


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@SIZES
@STRATEGIES
def test_fork_beside_balancing(huge: bool, strategy: str, executions: int) -> None:
    def program() -> None:
        machine, mm = started(huge=huge)
        task_numa_work(mm)
        child, _, _ = join(
            spawn(sys_fork, machine, mm, "as", name="fork"),
            spawn(user_store, mm, HEAP, "late", name="cc1"),
            spawn(task_numa_work, mm, name="balance"),
        )
        check(contents(mm) == ["late", *TOKENS[1:]], "the parent keeps its store")
        check(contents(child)[0] in ("late", TOKENS[0]), "the child has either")
        user_store(child, HEAP, "child")
        check(user_load(mm, HEAP) == "late", "not the parent's")
        ended(machine, mm, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))
