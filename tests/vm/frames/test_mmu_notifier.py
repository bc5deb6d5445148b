"""Devices that mirror an address space: whoever changes it tells them, and none of the steps can be left out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from sugarbush.concurrency import READ_ONCE, WRITE_ONCE, Kind, Result, Settings, explore, join, spawn
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.kit.patches import Patch, applied, patch
from sugarbush.stress.kit.process import Process
from sugarbush.stress.workloads.mappings import map_pages
from sugarbush.stress.workloads.mirrors import mirror
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access.hmm import device_close, device_load, device_store
from sugarbush.vm.access.user import Killed, user_load
from sugarbush.vm.faults.uffd import userfaultfd_register, userfaultfd_writeprotect
from sugarbush.vm.frames import mmu_notifier, secondary_mmu
from sugarbush.vm.frames.mmu_notifier import mmu_interval_notifier_insert
from sugarbush.vm.frames.page_alloc import folio_put
from sugarbush.vm.frames.pgtable import pmdp_get, pte_index
from sugarbush.vm.frames.secondary_mmu import MmuIntervalNotifier, NotifierSubscriptions
from sugarbush.vm.huge.khugepaged import collapse_huge_page
from sugarbush.vm.objects.folio import folio_get
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.objects.pgtable_types import Migration, PageTable, Present
from sugarbush.vm.reclaim.huge_split import split_huge_page
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.migrate_device import migrate_vma_finalize, migrate_vma_setup
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.reverse import all_locks
from sugarbush.vm.reverse.all_locks import mmu_notifier_register
from sugarbush.vm.spaces.find import vma_lookup
from sugarbush.vm.spaces.mm import mmap_read_lock, mmap_read_unlock
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_HUGEPAGE,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
)
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine

PAGES = 2


@dataclass
class World:
    """A process of two pages that a device has written to, as its own."""

    machine: Machine
    process: Process
    sub: MmuIntervalNotifier

    @property
    def mm(self) -> MmStruct:
        """The address space."""
        return self.process.mm

    def stale(self) -> str | None:
        """What the device may do with a page that the process's entries do not permit."""
        for address, spte in self.sub.sptes.items():
            pmd = pmdp_get(self.mm, address)
            pte = pmd.entries[pmd.index(address)] if isinstance(pmd, PageTable) else pmd
            if not isinstance(pte, Present):
                return f"{address:#x}: {spte} for {pte}"
            number = pte.pfn + (0 if isinstance(pmd, PageTable) else pte_index(self.mm, address))
            if spte.pfn != number or (spte.write and not pte.write):
                return f"{address:#x}: {spte} for {pte}"
        return None


def world(*, huge: bool = False) -> World:
    machine, process = heap(PAGES, frames=12, slots=4, huge=huge)
    sub = mirror(process.mm, page(0), PAGES)
    for number in range(PAGES):
        device_store(sub, page(number), f"device:{number}")
    return World(machine, process, sub)


def fork(one: World) -> None:
    assert sys_fork(one.machine, one.mm, "child") is not None


def copy(one: World) -> None:
    fork(one)
    device_load(one.sub, page(0))
    one.process.store(page(0), "copied")


def protect(one: World) -> None:
    assert sys_mprotect(one.mm, page(0), PAGE_SIZE, PROT_READ) == 0


def collect(one: World) -> None:
    mmap_read_lock(one.mm)
    vma = vma_lookup(one.mm, page(0))
    assert vma is not None
    pages = migrate_vma_setup(vma, page(0), page(1))
    assert one.stale() is None
    migrate_vma_finalize(vma, pages)
    mmap_read_unlock(one.mm)


def write_protect(one: World) -> None:
    userfaultfd_register(one.mm, page(0))
    assert userfaultfd_writeprotect(one.mm, page(0), page(1), protect=True) == 0


def collapse(one: World) -> None:
    sys_madvise(one.mm, page(0), PAGES * PAGE_SIZE, MADV_HUGEPAGE)
    assert collapse_huge_page(one.mm, page(0)) == 0


def move(one: World) -> None:
    flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP
    assert sys_mremap(one.mm, page(0), PAGE_SIZE, PAGE_SIZE, flags, page(8)) == page(8)


CHANGES: dict[str, tuple[Callable[[World], object], str]] = {
    "madvise": (lambda one: one.process.dontneed(page(0), 1), "vmas.zap"),
    "munmap": (lambda one: one.process.munmap(page(0), 1), "vmas.zap"),
    "mprotect": (protect, "vmas.protect"),
    "mremap": (move, "vmas.move"),
    "fork": (fork, "faults.cow"),
    "a copy": (copy, "faults.cow"),
    "reclaim": (lambda one: kswapd(one.machine.memory, 1), "reclaim.unmap"),
    "compaction": (lambda one: compact_zone(one.machine.memory), "reverse.rmap"),
    "migrate_vma": (collect, "reclaim.migrate_device"),
    "userfaultfd": (write_protect, "faults.uffd"),
    "khugepaged": (collapse, "huge.khugepaged"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whoever_changes_an_entry_tells_who_mirrors_it(name: str) -> None:
    change, _ = CHANGES[name]
    one = world()
    change(one)
    assert one.stale() is None


@pytest.mark.parametrize("name", CHANGES)
def test_if_one_of_them_did_not_the_device_would_have_what_it_must_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, module = CHANGES[name]
    one = world()
    where = importlib.import_module(f"sugarbush.vm.{module}")
    if hasattr(where, "notified"):
        monkeypatch.setattr(where, "notified", lambda rmap_one: rmap_one)
    else:
        for which in ("start", "end"):
            monkeypatch.setattr(where, f"mmu_notifier_invalidate_range_{which}", lambda *_: None)
    try:
        change(one)
    except AssertionError:
        return
    assert one.stale() is not None


def test_what_the_device_wrote_is_not_lost_when_the_page_is_reclaimed() -> None:
    one = world()
    assert kswapd(one.machine.memory, PAGES) == PAGES
    assert [user_load(one.mm, page(number)) for number in range(PAGES)] == ["device:0", "device:1"]
    assert [device_load(one.sub, page(number)) for number in range(PAGES)] == ["device:0", "device:1"]


def test_the_device_can_do_what_the_process_can_and_no_more() -> None:
    one = world()
    sys_mprotect(one.mm, page(0), PAGE_SIZE, PROT_READ)
    assert device_load(one.sub, page(0)) == "device:0"
    with pytest.raises(Killed):
        device_store(one.sub, page(0), "new")
    one.process.munmap(page(1), 1)
    with pytest.raises(Killed):
        device_load(one.sub, page(1))
    exit_mmap(one.mm)
    assert one.sub.sptes == {}
    with pytest.raises(Killed):
        device_load(one.sub, page(0))


def test_a_huge_page_is_mirrored_page_by_page_and_taken_back_whole() -> None:
    one = world(huge=True)
    assert [spte.pfn % 2 for spte in one.sub.sptes.values()] == [0, 1]
    folio = one.machine.memory.mem_map[one.sub.sptes[page(0)].pfn].head
    assert folio.order == 1
    folio_get(folio)
    folio.lock.lock()
    assert split_huge_page(one.machine.memory, folio) == 0
    folio.lock.unlock()
    folio_put(one.machine.memory, folio)
    assert one.sub.sptes == {}
    assert device_load(one.sub, page(1)) == "device:1"


def test_a_range_that_nobody_mirrors_disturbs_nobody() -> None:
    one = world()
    map_pages(one.process, 64, 1)
    one.process.store(page(64), "elsewhere")
    before = dict(one.sub.sptes)
    one.process.dontneed(page(64), 1)
    assert one.sub.sptes == before


# -- in time ------------------------------------------------------------------------------------------------------


def run(program: Callable[[], None], executions: int, *patches: Patch) -> Result:
    with applied(patches):
        return explore(program, executions=executions, seed=3, settings=Settings(observers=model_observers))


def device_beside_madvise() -> None:
    """A device looks at a page while the process gives it up, and keeps what it has until the page is gone."""
    machine, process = heap(1)
    sub = mirror(process.mm, page(0), 1)
    join(spawn(process.dontneed, page(0), 1), spawn(device_load, sub, page(0)))
    process.load(page(0))
    device_close(sub)
    process.exit(machine)


@patch(mmu_notifier.mmu_interval_read_retry)
def never_again(_sub: MmuIntervalNotifier, _seq: int) -> bool:
    """What was seen is written down, whatever happened since."""
    return False


@patch(mmu_notifier.mmu_interval_read_begin)
def at_once(sub: MmuIntervalNotifier) -> int:
    """The number is that of an invalidation that goes on."""
    seq: int = READ_ONCE(sub, "invalidate_seq")
    return seq


@pytest.mark.parametrize("wrong", [never_again, at_once], ids=["no second look", "no waiting"])
def test_each_step_of_the_device_is_needed(wrong: Patch) -> None:
    (witness,) = run(device_beside_madvise, 1500, wrong).failures
    assert witness.failure.check == "secondary-mmu"
    assert "pfn0" in witness.failure.headline


def test_with_them_nothing_is_found() -> None:
    assert run(device_beside_madvise, 60).failures == []


def come_beside_madvise(*, first: bool) -> None:
    """A device, the first one or another, comes while the process gives its page up."""
    machine, process = heap(1, era="6.6")
    if not first:
        mmu_notifier_register(process.mm)

    def come() -> MmuIntervalNotifier:
        mmu_notifier_register(process.mm)
        sub = mmu_interval_notifier_insert(process.mm, page(0), page(1))
        device_load(sub, page(0))
        return sub

    _, sub = join(spawn(process.dontneed, page(0), 1), spawn(come))
    process.load(page(0))
    device_close(sub)
    process.exit(machine)


@patch(all_locks.mmu_notifier_register)
def without_any_lock(mm: MmStruct) -> None:
    """Who is between the two ends of a change says the second only."""
    mm.notifier_subscriptions = secondary_mmu.NotifierSubscriptions()


@patch(mmu_notifier.begin_to_mirror)
def if_nobody_is_told(subs: NotifierSubscriptions, sub: MmuIntervalNotifier) -> None:
    """An invalidation of which nobody had to be told is taken for none."""
    if READ_ONCE(subs, "invalidate_seq") & 1:
        if_nobody_is_told.original(subs, sub)
        return
    WRITE_ONCE(sub, "invalidate_seq", READ_ONCE(subs, "invalidate_seq") - 1)
    subs.itree.append(sub)


def test_who_comes_during_an_invalidation_waits_for_its_end_though_nobody_was_told_of_it() -> None:
    another = partial(come_beside_madvise, first=False)
    assert run(another, 60).failures == []
    (witness,) = run(another, 600, if_nobody_is_told).failures
    assert witness.failure.check == "secondary-mmu"


def test_the_first_one_takes_all_locks_so_that_nobody_says_half_of_a_change() -> None:
    the_first = partial(come_beside_madvise, first=True)
    assert run(the_first, 60).failures == []
    (witness,) = run(the_first, 300, without_any_lock).failures
    assert witness.failure.kind is Kind.BUG_ON
    assert "active_invalidate_ranges" in witness.failure.headline


def test_all_locks_of_a_process_with_children_and_files_are_taken_once_each() -> None:
    """The same anon_vma family is met in each VMA of it."""
    one = world()
    fork(one)
    map_pages(one.process, 64, 1)
    one.process.store(page(64), "another VMA")
    other = sys_fork(one.machine, one.mm, "second")
    assert other is not None
    assert mmu_notifier_register(other) is other.notifier_subscriptions
    assert not isinstance(other.pmds[page(0) // other.pmd_size], Migration)
