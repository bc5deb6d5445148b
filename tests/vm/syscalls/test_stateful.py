"""Two processes through every system call, with failing allocations; after each call every invariant holds.

Each example is one execution under all checks, held open between the calls. A call that says no memory has changed
nothing that a process could see, with the exceptions that docs/vm.md lists; what it said otherwise is compared with a
plain model of pages.
"""

from __future__ import annotations

from itertools import count

import pytest
from calling_process import ADVICE, BASE, MAPPED, PAGES, PROTS, CallingProcess
from held_open import HeldOpen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from vm_world import HEAP, assert_invariants

from sugarbush.concurrency import Settings, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.kit.patches import Patch, applied, patch
from sugarbush.vm.access.file_io import generic_file_write
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.frames.swap import swapon
from sugarbush.vm.objects.errno import EINVAL, ENOMEM, ESRCH
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import AddressSpace, MmStruct, VmArea
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.truncate import do_truncate
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.reclaim.workqueue import Workqueue, destroy_workqueue, worker_thread
from sugarbush.vm.reverse import anon_vma_chain, interval_tree
from sugarbush.vm.spaces.vma import linear_page_index
from sugarbush.vm.syscalls import brk, mprotect
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.exec import bprm_mm_init, setup_arg_pages
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_DONTNEED,
    MADV_RANDOM,
    MADV_REMOVE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.syscalls.remapping import sys_remap_file_pages
from sugarbush.vm.vmas.era import ERAS
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import boot
from sugarbush.vm.vmas.munmap import do_munmap

FRAMES, SLOTS = 60, 20

processes = st.integers(0, 1)
pages = st.one_of(st.integers(8, 11), st.integers(0, PAGES - 1))
"""Half of them in the heap, where most of what was written is."""
lengths = st.integers(1, 5)
kinds = st.integers(0, len(PROTS) - 1)
file_pages = st.integers(0, 4)
failing = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 6, 9])
"""Which allocation of a call fails; 0: none."""


def file_page(mm: MmStruct, address: int) -> int:
    """Which page of the file is mapped there; -1 for none."""
    with quiet():
        vma = mm.mm_mt.load(address)
        return -1 if vma is None else linear_page_index(vma, address)


class TwoProcesses(RuleBasedStateMachine):
    """Rules are the system calls of two processes, and what the kernel does beside them."""

    @initialize(era=st.sampled_from(sorted(ERAS)))
    def begin(self, era: str) -> None:
        settings = Settings(faults=1_000_000, observers=model_observers)
        self.held = HeldOpen(settings)
        self.held.call(lambda: self.start(era))

    def start(self, era: str) -> None:
        self.machine = boot(FRAMES, era)
        swapon(self.machine.memory, SLOTS)
        self.file = AddressSpace("data")
        self.contents: dict[int, object] = {}
        self.tokens = count(1)
        self.kevent = Workqueue()
        self.worker = spawn(worker_thread, self.kevent)
        self.pair = [self.new("cc1"), self.new("as")]
        for one in self.pair:
            one.brk(4)
            for number in range(1, 4):
                one.store(number)

    def new(self, name: str) -> CallingProcess:
        return CallingProcess(self.machine, self.machine.add_mm(name, HEAP), self.tokens, self.kevent)

    def act(self, which: int, failing: int, call: str, *arguments: int) -> None:
        """One process makes a call, in which one allocation may fail."""
        self.held.call(lambda: getattr(self.pair[which], call)(*arguments), failing)

    # -- the calls of one process ---------------------------------------------------------------------------------

    @rule(which=processes, failing=failing, number=pages, length=lengths, prot=kinds)
    def mmap(self, which: int, failing: int, number: int, length: int, prot: int) -> None:
        self.act(which, failing, "mmap", number, length, prot)

    @rule(which=processes, failing=failing, number=pages, length=lengths)
    def munmap(self, which: int, failing: int, number: int, length: int) -> None:
        self.act(which, failing, "munmap", number, length)

    @rule(which=processes, failing=failing, number=pages, length=lengths, prot=kinds)
    def mprotect(self, which: int, failing: int, number: int, length: int, prot: int) -> None:
        self.act(which, failing, "mprotect", number, length, prot)

    @rule(which=processes, failing=failing, number=pages, to=pages, how=st.integers(1, 24))
    def mremap(self, which: int, failing: int, number: int, to: int, how: int) -> None:
        self.act(which, failing, "mremap", number, to, how)

    @rule(
        which=processes, failing=failing, number=pages, length=lengths, advice=st.integers(0, len(ADVICE) - 1)
    )
    def madvise(self, which: int, failing: int, number: int, length: int, advice: int) -> None:
        self.act(which, failing, "madvise", number, length, advice)

    @rule(which=processes, failing=failing, number=st.integers(0, 6))
    def brk(self, which: int, failing: int, number: int) -> None:
        self.act(which, failing, "brk", number)

    @rule(which=processes, failing=failing, number=st.integers(0, 8))
    def store(self, which: int, failing: int, number: int) -> None:
        self.act(which, failing, "store", number)

    @rule(which=processes, failing=failing, number=st.integers(0, 8))
    def load(self, which: int, failing: int, number: int) -> None:
        self.act(which, failing, "load", number)

    @rule(which=processes, failing=failing, number=pages)
    def mbind(self, which: int, failing: int, number: int) -> None:
        self.act(which, failing, "mbind", number)

    # -- a file that both map at one place ------------------------------------------------------------------------

    @rule(which=processes, failing=failing, length=lengths)
    def map_file(self, which: int, failing: int, length: int) -> None:
        def call() -> None:
            mm, size, prot = self.pair[which].mm, length * PAGE_SIZE, PROT_READ | PROT_WRITE
            assert sys_mmap(mm, MAPPED, size, prot, MAP_SHARED | MAP_FIXED, self.file) in (MAPPED, ENOMEM)

        self.held.call(call, failing)

    @rule(which=processes, failing=failing, length=lengths)
    def unmap_file(self, which: int, failing: int, length: int) -> None:
        self.held.call(lambda: do_munmap(self.pair[which].mm, MAPPED, length * PAGE_SIZE), failing)

    @rule(which=processes, failing=failing, number=file_pages, stores=st.booleans())
    def touch_file(self, which: int, failing: int, number: int, stores: bool) -> None:
        def call() -> None:
            mm, token, address = self.pair[which].mm, next(self.tokens), MAPPED + number * PAGE_SIZE
            index = file_page(mm, address)
            try:
                if stores:
                    user_store(mm, address, token)
                    self.contents[index] = token
                else:
                    assert user_load(mm, address) == self.contents.get(index, 0)
            except Killed:
                pass

        self.held.call(call, failing)

    @rule(which=processes, failing=failing, number=file_pages, buffer=st.integers(1, 5))
    def write_file(self, which: int, failing: int, number: int, buffer: int) -> None:
        def call() -> None:
            one = self.pair[which]
            page = one.somewhere(buffer)
            try:
                if generic_file_write(one.mm, self.file, number, page) == 0:
                    self.contents[number] = one.written.get(page, 0)
            except Killed:  # by the fault on the buffer
                self.file.i_rwsem.up_write()

        self.held.call(call, failing)

    @rule(which=processes, failing=failing, number=file_pages, length=lengths, pgoff=file_pages)
    def remap_file_pages(self, which: int, failing: int, number: int, length: int, pgoff: int) -> None:
        start, size = MAPPED + number * PAGE_SIZE, length * PAGE_SIZE

        def call() -> None:
            assert sys_remap_file_pages(self.pair[which].mm, start, size, pgoff) in (0, EINVAL, ENOMEM)

        self.held.call(call, failing)

    @rule(which=processes, failing=failing, number=file_pages, length=lengths)
    def punch_hole(self, which: int, failing: int, number: int, length: int) -> None:
        start, size = MAPPED + number * PAGE_SIZE, length * PAGE_SIZE

        def call() -> None:
            mm = self.pair[which].mm
            for address in range(start, start + size, PAGE_SIZE):
                self.contents.pop(file_page(mm, address), None)
            assert sys_madvise(mm, start, size, MADV_REMOVE) in (0, ENOMEM)

        self.held.call(call, failing)

    @rule(failing=failing, size=st.integers(0, 8))
    def truncate(self, failing: int, size: int) -> None:
        def call() -> None:
            do_truncate(self.machine.memory, self.file, size)
            self.contents = {index: token for index, token in self.contents.items() if index < size}

        self.held.call(call, failing)

    # -- processes come and go ------------------------------------------------------------------------------------

    @rule(which=processes, failing=failing)
    def fork(self, which: int, failing: int) -> None:
        def call() -> None:
            child = self.pair[which].fork()
            if child is not None:
                self.pair[not which].end()
                self.pair[not which] = child

        self.held.call(call, failing)

    @rule(which=processes, failing=failing)
    def execve(self, which: int, failing: int) -> None:
        def call() -> None:
            self.pair[which].end()
            self.pair[which] = new = self.new("new")
            new.execve()

        self.held.call(call, failing)

    # -- the kernel beside them -----------------------------------------------------------------------------------

    @rule()
    def compact(self) -> None:
        self.held.call(lambda: compact_zone(self.machine.memory))

    @rule(wanted=st.integers(1, 4))
    def reclaim(self, wanted: int) -> None:
        self.held.call(lambda: kswapd(self.machine.memory, wanted))

    # -- what holds after each ------------------------------------------------------------------------------------

    @invariant()
    def everything_holds(self) -> None:
        """The checks at work look before an operation, so there is one here."""

        def look() -> None:
            assert all(one.mm.brk >= HEAP for one in self.pair)
            assert_invariants(self.machine)

        self.held.call(look)

    def teardown(self) -> None:
        self.held.call(self.finish)
        self.held.close()

    def finish(self) -> None:
        for one in self.pair:
            one.read_all()
            one.end()
        fput(self.machine.memory, self.file)
        destroy_workqueue(self.kevent)
        join(self.worker)
        with quiet():
            assert len(self.machine.memory.free_list) == FRAMES


RUN = settings(
    max_examples=50,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


def test_two_processes_make_every_call_and_every_invariant_holds_after_each() -> None:
    run_state_machine_as_test(TwoProcesses, settings=RUN)  # type: ignore[no-untyped-call]


@patch(interval_tree.post_update_vma)
def stays_out_of_the_trees(vma: VmArea) -> None:
    """Whoever moves the border of a VMA forgets to put it back."""


@patch(mprotect.change_protection)
def leaves_the_entries(*_arguments: object) -> None:
    """mprotect changes the VMA and not what is mapped."""


@patch(anon_vma_chain.anon_vma_clone)
def links_nothing(dst: VmArea, src: VmArea) -> bool:
    """A VMA that is cut in two leaves the new half without links."""
    if src.anon_vma is not None:
        src.anon_vma.num_active_vmas += 1
    return True


@patch(brk.do_brk_flags)
def maps_nothing(*_arguments: object) -> int:
    """The heap grows in name only."""
    return 0


@pytest.mark.parametrize(
    ("mutant", "words"),
    [
        (stays_out_of_the_trees, "coverage: |WARNING: unlink_anon_vmas"),
        (leaves_the_entries, "rights: "),
        (links_nothing, "coverage: |anon-vma-chain: "),
        (maps_nothing, "brk: "),
    ],
)
def test_a_broken_invariant_is_seen(mutant: Patch, words: str) -> None:
    quick = settings(parent=RUN, max_examples=100, phases=(Phase.generate,), derandomize=True)
    with applied((mutant,)), pytest.raises(AssertionError, match=f"^({words})"):
        run_state_machine_as_test(TwoProcesses, settings=quick)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("era", ERAS)
def test_the_calls_say_no_to_a_process_that_has_ended(era: str) -> None:
    machine = boot(4, era)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + PAGE_SIZE)
    exit_mmap(mm)
    assert sys_fork(machine, mm, "child") is None
    assert machine.mms == [mm]
    assert sys_mmap(mm, BASE, PAGE_SIZE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED) == ESRCH
    assert sys_mprotect(mm, HEAP, PAGE_SIZE, 1) == ESRCH
    assert sys_mremap(mm, HEAP, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE) == ESRCH
    assert sys_madvise(mm, HEAP, PAGE_SIZE, MADV_DONTNEED) == ESRCH
    assert sys_madvise(mm, HEAP, PAGE_SIZE, MADV_RANDOM) == ESRCH
    assert bprm_mm_init(mm) == setup_arg_pages(mm, HEAP) == ESRCH
    assert mm.mmap_lock.free
