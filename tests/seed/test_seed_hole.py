"""What was reasoned about, run: a stack that grows into the hole, an end that moves within one huge page, and Liam's
simplified do_mmap() in do_brk_flags().
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from sugarbush.concurrency import Settings, explore, join, spawn
from sugarbush.stress.catalogue import brk_false_vma, brk_false_vma_huge, stack_grows_in_place
from sugarbush.stress.kit.patches import Patch, applied, patch
from sugarbush.stress.kit.process import Process
from sugarbush.stress.workloads.mappings import map_pages
from sugarbush.stress.workloads.pages import HEAP, compact_page, heap, page
from sugarbush.vm.access.user import Killed, user_load
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.huge.huge_split_pmd import vma_adjust_trans_huge
from sugarbush.vm.huge.khugepaged import collapse_huge_page
from sugarbush.vm.objects.layout import PAGE_SIZE, STACK_GUARD_GAP, VM_ACCOUNT, VM_DATA_FLAGS
from sugarbush.vm.objects.mm_types import AddressSpace, MmStruct, VmArea
from sugarbush.vm.spaces.find import vma_lookup
from sugarbush.vm.spaces.mm import mmap_read_lock, mmap_read_unlock
from sugarbush.vm.syscalls import brk
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import MADV_HUGEPAGE, MAP_FIXED, MAP_GROWSDOWN, MAP_PRIVATE
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.vmas.adjust import vma_expand
from sugarbush.vm.vmas.munmap import do_munmap

# -- (a) a stack that grows into the range while it is emptied --------------------------------------------------------

TOP = STACK_GUARD_GAP // PAGE_SIZE + 2
"""Where the heap ended and the stack begins: what is trimmed is as wide as the distance that a stack keeps."""
UNCHECKED = frozenset(
    {"coverage", "data-race", "migration-entry-locked", "migration-entry-owner", "rss", "leak"}
)
"""What the hole breaks before anybody reads there."""


def stack_over_the_hole(seen: set[object]) -> None:
    """A heap is trimmed below a stack that grows, while its last page is moved and another process wants frames."""
    machine, process = heap(1, frames=9)
    process.brk(page(TOP))
    process.store(page(TOP - 1), "the heap")
    map_pages(process, TOP, 1, extra=MAP_GROWSDOWN)
    process.store(page(TOP), "the stack")
    other = Process(machine.add_mm("sshd", HEAP))
    other.brk(page(2))
    join(
        spawn(process.brk, page(1), name="cc1"),
        spawn(deeper, process.mm, seen, name="deeper"),
        spawn(compact_page, machine.memory, machine.memory.mem_map[2], name="kcompactd"),
        spawn(other.store, page(0), "a secret", name="sshd"),
    )
    process.exit(machine)
    other.exit(machine)


def deeper(mm: MmStruct, seen: set[object]) -> None:
    """Read the page below the stack once the heap is not there any more."""
    mmap_read_lock(mm)
    gone = vma_lookup(mm, page(TOP - 1)) is None
    mmap_read_unlock(mm)
    if gone:
        with suppress(Killed):
            seen.add(user_load(mm, page(TOP - 1)))


GROWS = (stack_grows_in_place.lock_mm_and_find_vma, stack_grows_in_place.writer)
"""As in the kernel of the mail: a stack grows under mmap_lock for reading, as the zap does its work."""


def read_below(*patches: Patch) -> tuple[set[object], list[str]]:
    """What was read where the heap had been, and what ended it."""
    seen: set[object] = set()
    settings = Settings(without=UNCHECKED, spins=50, max_steps=20_000)
    with applied(patches):
        result = explore(partial(stack_over_the_hole, seen), executions=100, settings=settings)
    return seen, [witness.failure.headline for witness in result.failures]


def test_a_stack_that_grows_into_the_hole_finds_the_heap_that_was_there() -> None:
    """So data does get through, of the process itself; and the zap frees the page tables that the stack now uses."""
    seen, ended = read_below(brk_false_vma.do_brk_munmap, *GROWS)
    assert "the heap" in seen
    assert "a secret" not in seen
    assert len(ended) == 1
    assert "pte_table" in ended[0] or "Bad page map" in ended[0]


def test_the_standard_path_keeps_the_lock_where_a_stack_follows() -> None:
    assert read_below(*GROWS) == ({0}, [])


# -- (b) an old and a new end inside one huge page --------------------------------------------------------------------

OTHER_EFFECTS = frozenset({*UNCHECKED, "private-data"})
STRADDLES = "VM_BUG_ON_VMA(vma->vm_start > haddr, vma)"


@patch(brk.do_brk_munmap)
def split_then_shrink(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """The false VMA with the steps in the order of the series: the huge page first, then the border."""
    vma_adjust_trans_huge(vma, vma.vm_start, newbrk, None, 0)
    return int(brk_false_vma.do_brk_munmap.replacement(mm, vma, newbrk, oldbrk))


def trimmed_twice(begun: str) -> None:
    """The end of a heap comes to lie inside a huge page of four, and moves within it, beside who makes such pages."""
    machine, process = heap(8, frames=24, ptrs_per_pte=4, huge=begun == "huge")
    mm = process.mm
    sys_madvise(mm, HEAP, 8 * PAGE_SIZE, MADV_HUGEPAGE)

    def trim() -> None:
        process.brk(page(7))
        process.brk(page(6))

    join(
        spawn(trim, name="cc1"),
        spawn(user_load, mm, page(5), name="fault"),
        spawn(collapse_huge_page, mm, page(4), name="khugepaged"),
    )
    process.exit(machine)


@pytest.mark.parametrize("begun", ["huge", "small"])
@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_an_end_that_moves_within_a_huge_page_is_no_way_to_the_assertion(begun: str, strategy: str) -> None:
    settings = Settings(without=OTHER_EFFECTS)
    for patches in ((), (split_then_shrink,)):
        with applied(patches):
            result = explore(
                partial(trimmed_twice, begun), strategy=strategy, executions=30, settings=settings
            )
        assert [witness.failure.headline for witness in result.failures] == []


@pytest.mark.parametrize("begun", ["huge", "small"])
def test_the_wrong_order_is_found_there_too(begun: str) -> None:
    """M-b1 with four entries a page; where the pages are small at first, it takes khugepaged to come in between."""
    with applied((brk_false_vma_huge.do_brk_munmap,)):
        result = explore(
            partial(trimmed_twice, begun), executions=400, settings=Settings(without=OTHER_EFFECTS)
        )
    assert [STRADDLES in witness.failure.headline for witness in result.failures] == [True]


# -- (g) do_brk_flags() -----------------------------------------------------------------------------------------------


@patch(brk.do_brk_flags)
def do_brk_flags(mm: MmStruct, below: VmArea | None, address: int, length: int) -> int:
    """As in v10 of the series: what lies below grows if its flags are right, wherever it ends and whatever it maps."""
    single = below is not None and (below.anon_vma is None or len(below.anon_vma_chain) == 1)
    if below is not None and single and below.vm_flags == VM_DATA_FLAGS | VM_ACCOUNT:
        return vma_expand(below, below.vm_start, address + length, below.vm_pgoff, None)
    return int(do_brk_flags.original(mm, below, address, length))


def heap_with_a_hole() -> object:
    """The process has unmapped the end of its heap, and lets it grow; what does it read in the hole?"""
    machine, process = heap(0)
    process.brk(page(2))
    assert do_munmap(process.mm, page(1), PAGE_SIZE) == 0
    process.brk(page(3))
    found: object = "killed"
    with suppress(Killed):
        found = user_load(process.mm, page(1))
    process.exit(machine)
    return found


def heap_below_a_file() -> object:
    """The process has mapped a file over its heap, and lets it grow; what does it read in the new page?"""
    machine, process = heap(0)
    process.brk(page(1))
    file = AddressSpace("cc1.so")
    assert sys_mmap(process.mm, page(0), PAGE_SIZE, 3, MAP_PRIVATE | MAP_FIXED, file, 0) == page(0)
    process.brk(page(2))
    mmap_read_lock(process.mm)
    vma = vma_lookup(process.mm, page(1))
    mmap_read_unlock(process.mm)
    assert vma is not None
    found: object = "the file" if vma.vm_file is file else "a page of its own"
    process.exit(machine)
    fput(machine.memory, file)
    return found


@pytest.mark.parametrize(
    ("program", "right", "wrong"),
    [(heap_with_a_hole, "killed", 0), (heap_below_a_file, "a page of its own", "the file")],
)
def test_a_simplified_do_mmap_grows_what_it_must_not(program: Any, right: object, wrong: object) -> None:
    """6c28ca6485dd, "mmap: fix do_brk_flags() modifying obviously incorrect VMAs"; a claim of the mail, (g)."""
    found: list[object] = []
    assert explore(lambda: found.append(program()), executions=1).failures == []
    with applied((do_brk_flags,)):
        explore(lambda: found.append(program()), executions=1)
    assert found == [right, wrong]
