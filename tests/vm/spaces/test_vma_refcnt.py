"""Era 6.15: the locks of VMAs as a count, and VMAs whose memory may be another one's when they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Kind,
    Result,
    Settings,
    Verdict,
    check,
    explore,
    join,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    spawn,
)
from sugarbush.concurrency.lowlevel import perform
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.kit.scenarios import all_scenarios, find_scenario
from sugarbush.vm.objects import vma_refcnt
from sugarbush.vm.objects.mm_types import MmStruct, VmArea
from sugarbush.vm.objects.vma_refcnt import VMA_LOCK_OFFSET, is_vma_writer_only
from sugarbush.vm.spaces import vma_lock, vma_lock_refcnt
from sugarbush.vm.spaces.mm import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.spaces.vma import vm_area_alloc, vm_area_free
from sugarbush.vm.spaces.vma_lock import vma_mark_attached, vma_mark_detached, vma_start_write
from sugarbush.vm.vmas import era
from sugarbush.vm.vmas.machine import Machine, boot

registry.load()
ERA = "6.15"
START, END = 0x100000, 0x101000
WEAK = Settings(memory="weak", without=frozenset({"leak"}))
SC = Settings(without=frozenset({"leak"}))

Broken = Callable[[pytest.MonkeyPatch], None]


def attached(mm: MmStruct) -> VmArea:
    """A VMA of `mm` that readers may lock; it is in no tree, since whoever reads here has found it already."""
    mmap_write_lock(mm)
    vma = vm_area_alloc(mm, START, END, START >> 12, 0)
    assert vma is not None
    vma_start_write(vma)
    vma_mark_attached(vma)
    mmap_write_unlock(mm)
    return vma


def start_read(mm: MmStruct, vma: VmArea) -> bool:
    if mm.era.name == ERA:
        rcu_read_lock()
        locked = isinstance(vma_lock_refcnt.vma_start_read(mm, vma), VmArea)
        rcu_read_unlock()
        return locked
    return vma_lock.vma_start_read(vma)


def end_read(mm: MmStruct, vma: VmArea) -> None:
    (vma_lock_refcnt if mm.era.name == ERA else vma_lock).vma_end_read(vma)


# -- one VMA, a writer, readers ---------------------------------------------------------------------------------------


def a_change(name: str = ERA, readers: int = 1, seen: set[Any] | None = None) -> None:
    """A writer changes two fields of a locked VMA; a reader that may look sees both old or both new."""
    mm = boot(8, name).add_mm("cc1", START)
    vma = attached(mm)
    vma.vm_page_prot = 0

    def writer() -> None:
        mmap_write_lock(mm)
        vma_start_write(vma)
        vma.vm_flags = 1
        vma.vm_page_prot = 1
        mmap_write_unlock(mm)

    def reader() -> Any:
        if not start_read(mm, vma):
            return None
        flags, prot = vma.vm_flags, vma.vm_page_prot
        end_read(mm, vma)
        check(flags == prot, "both are of one moment")
        return flags

    _, *saw = join(spawn(writer), *(spawn(reader) for _ in range(readers)))
    if seen is not None:
        seen.add(tuple(saw))


@pytest.mark.parametrize("settings", [SC, WEAK], ids=["sc", "weak"])
def test_a_reader_sees_a_whole_change(settings: Settings) -> None:
    assert explore(a_change, strategy="dpor", settings=settings).verdict is Verdict.PASSED


@pytest.mark.parametrize("readers", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_readers_see_what_they_saw_by_a_rw_semaphore(readers: int) -> None:
    """Every schedule of both: the locks of v6.6 and those of v6.15 differ in how they work, not in what they permit."""
    seen: dict[str, set[Any]] = {"6.6": set(), ERA: set()}
    for name, outcomes in seen.items():
        result = explore(partial(a_change, name, readers, outcomes), strategy="dpor", settings=SC)
        assert result.verdict is Verdict.PASSED
    assert seen[ERA] == seen["6.6"]
    assert {one for outcome in seen[ERA] for one in outcome} == {None, 0, 1}


def no_barrier_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_write_all(_locks: Any, mm: MmStruct) -> None:
        WRITE_ONCE(mm, "mm_lock_seq", READ_ONCE(mm, "mm_lock_seq") + 1)

    monkeypatch.setattr(vma_lock_refcnt.VmaRefcounts, "end_write_all", end_write_all)


def number_not_acquired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vma_lock_refcnt, "smp_load_acquire", READ_ONCE)


@pytest.mark.parametrize("broken", [no_barrier_at_the_end, number_not_acquired])
def test_half_of_the_ordering_is_missed_under_weak_memory_only(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    assert explore(a_change, strategy="dpor", settings=SC).verdict is Verdict.PASSED
    found = explore(a_change, strategy="dpor", settings=WEAK).failures
    assert [witness.failure.kind for witness in found] == [Kind.CHECK]


def writer_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vma_lock_refcnt, "rcuwait_wait_event", lambda _mm, _condition: None)


def number_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_mm: MmStruct, _name: str) -> int:
        return -2

    monkeypatch.setattr(vma_lock_refcnt, "smp_load_acquire", load)


def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vma_lock_refcnt, "rcuwait_wake_up", lambda _mm: False)


def woken_by_nobody_but_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only at VMA_LOCK_OFFSET, as if the attached VMA had no reference of its own."""
    monkeypatch.setattr(vma_lock_refcnt, "is_vma_writer_only", lambda count: count == VMA_LOCK_OFFSET)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (writer_does_not_wait, Kind.CHECK),
        (number_not_looked_at_again, Kind.CHECK),
        (nobody_is_woken, Kind.DEADLOCK),
        (woken_by_nobody_but_the_last, Kind.DEADLOCK),
    ],
)
def test_each_rule_is_needed(broken: Broken, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    found = explore(a_change, strategy="dpor", settings=SC).failures
    assert [witness.failure.kind for witness in found] == [kind]


def test_a_sleep_that_ends_for_no_reason_is_no_lock() -> None:
    settings = Settings(without=frozenset({"leak"}), spurious=1)
    assert explore(a_change, strategy="dpor", settings=settings).verdict is Verdict.PASSED


def test_who_is_woken() -> None:
    assert [n for n in (0, 1, 2, VMA_LOCK_OFFSET - 1) if is_vma_writer_only(n)] == []
    assert [n for n in range(4) if is_vma_writer_only(VMA_LOCK_OFFSET + n)] == [0, 1]


# -- a VMA that is another one's by now -------------------------------------------------------------------------------


def another_ones() -> None:
    """A fault has found a VMA in its own address space, and it was used again in another, which now ends."""
    machine = boot(8, ERA)
    mine, other = machine.add_mm("java", START), machine.add_mm("true", START)
    vma = attached(other)

    def reader() -> None:
        check(not start_read(mine, vma), "nobody locks a VMA of another address space")

    join(spawn(reader, name="fault"), spawn(ends, machine, other, vma, name="true"))
    machine.remove_mm(mine)


def ends(machine: Machine, mm: MmStruct, vma: VmArea) -> None:
    mmap_write_lock(mm)
    vma_start_write(vma)
    vma_mark_detached(vma)
    vm_area_free(vma)
    mmap_write_unlock(mm)
    machine.remove_mm(mm)


def every_schedule(program: Callable[[], None], settings: Settings | None = None) -> Result:
    return explore(program, strategy="dpor", settings=settings or Settings())


def test_what_was_used_again_is_left_alone() -> None:
    assert every_schedule(another_ones).verdict is Verdict.PASSED


def read_as_in_v6_15_0(mm: MmStruct, vma: VmArea) -> Any:
    """CVE-2025-38554: whose it is, is looked at by the caller, who then drops the reference, and wakes a writer of whom
    nobody knows whether he is still there.
    """
    if READ_ONCE(vma, "vm_lock_seq") == READ_ONCE(mm, "mm_lock_seq"):
        return None
    if not perform(vma_refcnt.INC_NOT_ZERO_LIMITED_ACQUIRE, vma.vm_refcnt):
        return None
    if READ_ONCE(vma, "vm_lock_seq") == smp_load_acquire(mm, "mm_lock_seq") or vma.vm_mm is not mm:
        vma_lock_refcnt.vma_refcount_put(vma)
        return None
    return vma


def the_address_space_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vma_lock_refcnt, "vma_start_read", read_as_in_v6_15_0)


def not_looked_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(mm: MmStruct, vma: VmArea) -> Any:
        if READ_ONCE(vma, "vm_lock_seq") == READ_ONCE(mm, "mm_lock_seq"):
            return None
        taken = perform(vma_refcnt.INC_NOT_ZERO_LIMITED_ACQUIRE, vma.vm_refcnt)
        return vma if taken else None

    monkeypatch.setattr(vma_lock_refcnt, "vma_start_read", read)


def detached_without_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the first versions of the series (December 2024)."""

    def detach(vma: VmArea) -> None:
        perform(vma_refcnt.REFCOUNT_DEC_AND_TEST, vma.vm_refcnt)

    monkeypatch.setattr(vma_lock_refcnt, "vma_mark_detached", detach)


@pytest.mark.parametrize(
    ("broken", "shown"),
    [
        (the_address_space_is_not_kept, "slab-use-after-free in mm_struct.vma_writer_wait"),
        (not_looked_whose_it_is, "nobody locks a VMA of another address space"),
        (detached_without_a_wait, "somebody has a reference to what is freed"),
    ],
)
def test_what_was_used_again_is_met(broken: Broken, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    (witness,) = every_schedule(another_ones).failures
    assert shown in witness.failure.headline


def used_again() -> None:
    """A fault has found a VMA, of which the memory is used again for one elsewhere in the same address space."""
    machine = boot(8, ERA)
    mm = machine.add_mm("java", START)
    vma = attached(mm)

    def reader() -> None:
        rcu_read_lock()
        locked = vma_lock_refcnt.vma_start_read(mm, vma)
        rcu_read_unlock()
        if isinstance(locked, VmArea):
            inside = (locked.vm_start, locked.vm_end)
            check(inside in ((START, END), (START + 0x8000, END + 0x8000)), f"{inside} is one of the two")
            vma_lock_refcnt.vma_end_read(locked)

    def replaces() -> None:
        mmap_write_lock(mm)
        vma_start_write(vma)
        vma_mark_detached(vma)
        vm_area_free(vma)
        again = vm_area_alloc(mm, START + 0x8000, END + 0x8000, 0x108, 0)
        assert again is vma
        vma_start_write(again)
        vma_mark_attached(again)
        mmap_write_unlock(mm)

    join(spawn(reader, name="fault"), spawn(replaces, name="main"))


def attached_without_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vma_lock_refcnt, "REFCOUNT_SET_RELEASE", vma_refcnt.REFCOUNT_SET)


@pytest.mark.parametrize(
    "settings", [SC, pytest.param(WEAK, marks=pytest.mark.exhaustive)], ids=["sc", "weak"]
)
def test_a_reader_sees_all_of_what_the_memory_is_now(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert every_schedule(used_again, settings).verdict is Verdict.PASSED
    attached_without_release(monkeypatch)
    (witness,) = every_schedule(used_again, settings).failures
    assert witness.failure.kind is Kind.DATA_RACE


def test_a_half_made_vma_is_seen_under_weak_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the race detector warns of: the old start with the new end."""
    attached_without_release(monkeypatch)
    weak = Settings(memory="weak", without=frozenset({"leak", "data-race"}))
    (witness,) = every_schedule(used_again, weak).failures
    assert witness.failure.kind is Kind.CHECK


def test_a_vma_that_is_attached_is_not_freed() -> None:
    def program() -> None:
        vm_area_free(attached(boot(8, ERA).add_mm("true", START)))

    (witness,) = explore(program, executions=1, settings=SC).failures
    assert (witness.failure.kind, witness.failure.check) == (Kind.BUG_ON, "vma-refcount")


# -- the whole model --------------------------------------------------------------------------------------------------

CLEAN = [
    one.name
    for one in all_scenarios()
    if not one.expect and not one.name.startswith(("rcutor", "locktor", "tree-"))
]


def clean_in_era(name: str, executions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("5.19", "6.1", "6.6"):
        monkeypatch.setitem(era.ERAS, other, era.V6_15)
    scenario = find_scenario(name)
    result = explore(scenario.program, executions=executions, seed=5, settings=scenario.settings())
    assert [witness.failure.headline for witness in result.failures] == []


@pytest.mark.parametrize(
    "name", ["server", "stress-fork", "stress-mremap", "stress-madvise", "vma-lock-anon-vma-fixed"]
)
def test_workloads_are_clean_in_this_era(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All checks are on."""
    assert model_observers
    clean_in_era(name, 4, monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CLEAN)
def test_so_is_every_scenario(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_in_era(name, 60, monkeypatch)
