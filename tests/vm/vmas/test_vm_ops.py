"""Drivers: what is called when their files are mapped, and when VMAs of theirs come and go."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from vm_world import assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import KmemCache, check, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.lockdep.model.gfp import GFP_KERNEL
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.checks.invariants import mapped as ranges
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.frames.page_alloc import alloc_folio, folio_put
from sugarbush.vm.objects.errno import EBUSY, EINVAL, ENOMEM
from sugarbush.vm.objects.folio import Folio
from sugarbush.vm.objects.layout import PAGE_SIZE, VM_DONTCOPY, VM_DONTEXPAND
from sugarbush.vm.objects.mm_types import AddressSpace, FileOperations, Memory, MmStruct, VmArea, VmOperations
from sugarbush.vm.reclaim.truncate import do_truncate
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.mman import (
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine
from sugarbush.vm.vmas.munmap import do_munmap
from sugarbush.vm.vmas.vm_ops import vm_insert_page

AT = 0x40_0000


class Mapping:
    """What a driver has for one VMA."""


mapping_cache = KmemCache("driver_mapping", Mapping)


@dataclass
class Driver:
    """One object for each VMA, and so many of its pages mapped by hand, from a file that it serves."""

    memory: Memory
    insert: int = 0
    fails: int = 0
    flags: int = 0
    per_vma: bool = True
    objects: dict[VmArea, Mapping] = field(default_factory=dict)
    pages: list[Folio] = field(default_factory=list)
    called: list[str] = field(default_factory=list)

    def file(self, size: int = 8) -> AddressSpace:
        file = AddressSpace("gpu", size)
        file.f_op = FileOperations(self.mmap)
        return file

    def mmap(self, vma: VmArea) -> int:
        self.called.append("mmap")
        vma.vm_flags |= self.flags
        for number in range(self.insert):
            folio = alloc_folio(self.memory)
            if folio is None:
                return ENOMEM
            self.pages.append(folio)
            folio.token = f"gpu {number}"
            error = vm_insert_page(vma, vma.vm_start + number * PAGE_SIZE, folio)
            if error:
                return error
        if self.fails:
            return self.fails
        if self.per_vma:
            vma.vm_ops = VmOperations(self.open, self.close)
            return self.take(vma)
        return 0

    def take(self, vma: VmArea) -> int:
        made = mapping_cache.alloc(GFP_KERNEL)
        if made is None:
            return ENOMEM
        self.objects[vma] = made
        return 0

    def open(self, vma: VmArea) -> None:
        self.called.append("open")
        assert self.take(vma) == 0

    def close(self, vma: VmArea) -> None:
        self.called.append("close")
        mapping_cache.free(self.objects.pop(vma))

    def end(self, file: AddressSpace) -> None:
        check(not self.objects, "each VMA that the driver was told of has ended")
        for folio in self.pages:
            check(folio.mapcount == 0, "nothing maps its pages")
            folio_put(self.memory, folio)
        fput(self.memory, file)


def mapped(machine: Machine, file: AddressSpace, pages: int, at: int = AT, kind: int = MAP_SHARED) -> int:
    (mm,) = machine.mms
    return sys_mmap(mm, at, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, kind, file)


def test_a_driver_hears_of_each_vma_and_of_its_end() -> None:
    def program() -> None:
        machine, process = heap(1)
        driver, mm = Driver(machine.memory), process.mm
        file = driver.file()
        check(mapped(machine, file, 4) == AT, "mapped")
        user_store(mm, AT, "shared")
        do_munmap(mm, AT + PAGE_SIZE, PAGE_SIZE)
        check(driver.called == ["mmap", "open", "open", "close"], f"cut in three: {driver.called}")
        child = sys_fork(machine, mm, "as")
        assert child is not None
        check(user_load(child, AT) == "shared", "the child has the pages of the file")
        moved = sys_mremap(mm, AT, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, AT + 16 * PAGE_SIZE)
        check(moved == AT + 16 * PAGE_SIZE, f"moved: {moved}")
        check(driver.called[4:] == ["open", "open", "open", "close"], f"{driver.called}")
        check(len(driver.objects) == 4, "two VMAs each")
        ended(machine, child, mm)
        driver.end(file)

    assert_clean(run_alone(program))


def is_mapped(mm: MmStruct, address: int) -> bool:
    with quiet():
        return any(start <= address < end for start, end in ranges(mm))


def ended(machine: Machine, *mms: MmStruct) -> None:
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)


@pytest.mark.parametrize("kind", [MAP_SHARED, MAP_PRIVATE])
@pytest.mark.parametrize("error", [EBUSY, EINVAL])
@pytest.mark.parametrize("era", ["5.19", "6.1", "6.6"])
def test_after_a_driver_has_failed_nothing_is_mapped_and_it_hears_no_more(
    kind: int, error: int, era: str
) -> None:
    def program() -> None:
        machine, process = heap(1, era=era)
        driver = Driver(machine.memory, insert=3, fails=error)
        file = driver.file()
        check(mapped(machine, file, 4, kind=kind) == error, "the driver's error")
        check(driver.called == ["mmap"], f"{driver.called}")
        check(not is_mapped(process.mm, AT), "no VMA")
        check(file.f_count == 1, "no reference is left")
        assert_invariants(machine)
        driver.fails = 0
        driver.insert = 0
        check(mapped(machine, file, 4, kind=kind) == AT, "the place is free")
        process.exit(machine)
        driver.end(file)

    assert_clean(run_alone(program))


def test_without_memory_a_driver_is_not_asked_or_all_of_its_work_is_undone() -> None:
    """In whatever allocation fails: the VMA, the tree's nodes, the driver's object or pages, page tables."""

    def program() -> None:
        machine, process = heap(0)
        driver = Driver(machine.memory, insert=1)
        file = driver.file()
        result = mapped(machine, file, 2)
        check(result in (AT, ENOMEM), f"{result}")
        check((result == AT) == is_mapped(process.mm, AT), "mapped, or not")
        assert_invariants(machine)
        process.exit(machine)
        driver.end(file)

    result = run_alone(program, executions=60, faults=1)
    assert_clean(result)


def test_pages_of_a_driver_are_shared_with_children_and_not_reclaimed() -> None:
    def program() -> None:
        machine, process = heap(1)
        driver = Driver(machine.memory, insert=2)
        file = driver.file()
        mapped(machine, file, 2)
        child = sys_fork(machine, process.mm, "as")
        assert child is not None
        user_store(child, AT, "by the child")
        check(kswapd(machine.memory, 8) == 0, "no slots, and none of the driver's")
        check(user_load(process.mm, AT) == "by the child", "one page")
        check(user_load(process.mm, AT + PAGE_SIZE) == "gpu 1", "the other, which faults would not find")
        ended(machine, child, process.mm)
        driver.end(file)

    assert_clean(run_alone(program))


def test_a_driver_that_changes_flags_may_make_its_vma_one_with_a_neighbour() -> None:
    """As long as it does not want to be told of the end, and the flags do not forbid it."""

    def program(flags: int, per_vma: bool, expected: int) -> None:
        machine, process = heap(1)
        driver = Driver(machine.memory, flags=flags, per_vma=per_vma)
        file = driver.file()
        mapped(machine, file, 2)
        (mm,) = machine.mms
        before = mm.map_count
        args = PROT_READ | PROT_WRITE, MAP_SHARED, file, 2 * PAGE_SIZE
        check(sys_mmap(mm, AT + 2 * PAGE_SIZE, 2 * PAGE_SIZE, *args) == AT + 2 * PAGE_SIZE, "mapped")
        check(driver.called == ["mmap", "mmap"], "a new VMA each time: the first has other flags now")
        check(mm.map_count - before == expected, f"{mm.map_count - before}")
        process.exit(machine)
        driver.end(file)

    for flags, per_vma, expected in (
        (VM_DONTCOPY, False, 0),
        (VM_DONTCOPY, True, 1),
        (VM_DONTEXPAND, False, 1),
    ):
        assert_clean(run_alone(lambda *a: program(flags, per_vma, expected)))  # noqa: B023


def test_vmas_that_want_to_be_told_stay_what_they_are() -> None:
    def program() -> None:
        machine, process = heap(1)
        driver, mm = Driver(machine.memory), process.mm
        file = driver.file()
        mapped(machine, file, 2)
        before = mm.map_count
        check(sys_mprotect(mm, AT, PAGE_SIZE, PROT_READ) == 0, "cut")
        check(sys_mprotect(mm, AT, PAGE_SIZE, PROT_READ | PROT_WRITE) == 0, "alike again")
        check(mm.map_count == before + 1, "and two all the same")
        process.exit(machine)
        driver.end(file)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_mapping_and_truncating_and_unmapping_beside_each_other(strategy: str) -> None:
    def program() -> None:
        machine, process = heap(1)
        driver, mm = Driver(machine.memory), process.mm
        file = driver.file()
        mapped(machine, file, 2)
        user_store(mm, AT, "token")
        other = AT + 8 * PAGE_SIZE

        def again() -> None:
            mapped(machine, file, 1, other)
            do_munmap(mm, other, PAGE_SIZE)

        join(
            spawn(again),
            spawn(do_truncate, machine.memory, file, 0),
            spawn(do_munmap, mm, AT + PAGE_SIZE, PAGE_SIZE),
        )
        process.exit(machine)
        driver.end(file)

    assert_clean(run_alone(program, executions=40, strategy=strategy))


def test_an_anonymous_page_is_not_inserted() -> None:
    def program() -> None:
        machine, process = heap(1)
        seen: list[int] = []

        def hook(vma: VmArea) -> int:
            own = machine.memory.mem_map[process.mm.pmds[page(0) // process.mm.pmd_size].entries[0].pfn]  # type: ignore[union-attr]
            seen.append(vm_insert_page(vma, vma.vm_start, own))
            folio = alloc_folio(machine.memory)
            assert folio is not None
            seen.extend(vm_insert_page(vma, vma.vm_start, folio) for _ in range(2))
            folio_put(machine.memory, folio)
            return 0

        file = AddressSpace("gpu", 4)
        file.f_op = FileOperations(hook)
        mapped(machine, file, 1)
        check(seen == [EINVAL, 0, EBUSY], f"{seen}")
        process.exit(machine)
        fput(machine.memory, file)

    assert_clean(run_alone(program))
