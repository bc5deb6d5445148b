"""Two processes through every system call, with failing allocations; after each call every invariant holds.

Each script is one execution under all checks. A call that says no memory has changed nothing that a process could
see, with the exceptions that docs/vm.md lists; what it said otherwise is compared with a plain model of pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from vm_world import HEAP, assert_clean, assert_invariants, run_alone

from concurrency import quiet
from vm.brk import sys_brk
from vm.era import ERAS
from vm.errno import ENOMEM, ESRCH
from vm.exec import bprm_mm_init, setup_arg_pages
from vm.exit import exit_mmap
from vm.fork import sys_fork
from vm.layout import PAGE_SIZE, VM_READ, VM_WIPEONFORK, VM_WRITE
from vm.machine import Machine, boot
from vm.madvise import sys_madvise
from vm.migrate import compact_zone
from vm.mm import MmStruct
from vm.mman import (
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_RANDOM,
    MADV_WIPEONFORK,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
)
from vm.mmap import sys_mmap
from vm.mprotect import sys_mprotect
from vm.mremap import sys_mremap
from vm.munmap import do_munmap
from vm.user import Killed, user_load, user_store

FRAMES = 60
BASE = HEAP - 8 * PAGE_SIZE
PAGES = 16
ADVICE = (MADV_DONTNEED, MADV_DONTNEED, MADV_RANDOM, MADV_DONTFORK, MADV_WIPEONFORK)
PROTS = (3, 3, 3, 1, 0)

pages = st.integers(0, PAGES - 1)
calls = st.one_of(
    st.tuples(st.just("mmap"), pages, st.integers(1, 5), st.integers(0, 4)),
    st.tuples(st.just("munmap"), pages, st.integers(1, 5), st.just(0)),
    st.tuples(st.just("mprotect"), pages, st.integers(1, 5), st.integers(0, 4)),
    st.tuples(st.just("mremap"), pages, pages, st.integers(1, 24)),
    st.tuples(st.just("madvise"), pages, st.integers(1, 5), st.integers(0, 4)),
    st.tuples(st.just("brk"), st.integers(0, 6), st.just(0), st.just(0)),
    st.tuples(st.sampled_from(["store", "load"]), st.integers(0, 8), st.just(0), st.just(0)),
    st.tuples(st.just("store"), st.integers(1, 5), st.just(0), st.just(0)),
    st.tuples(st.sampled_from(["fork", "compact", "exit"]), st.just(0), st.just(0), st.just(0)),
)
Step = tuple[bool, tuple[str, int, int, int]]


class Beside:
    """A process, and what it wrote where, as far as it must still be there."""

    def __init__(
        self, machine: Machine, mm: MmStruct, tokens: Iterator[int], written: dict[int, object] | None = None
    ) -> None:
        self.machine = machine
        self.mm = mm
        self.written = {} if written is None else written
        self.tokens = tokens

    def flags(self) -> dict[int, int]:
        with quiet():
            return {
                page: vma.vm_flags
                for first, last, vma in self.mm.mm_mt.ranges()
                for page in range(first, last + 1, PAGE_SIZE)
            }

    def forget(self, start: int, end: int) -> None:
        for page in [page for page in self.written if start <= page < end]:
            del self.written[page]

    # -- the calls ------------------------------------------------------------------------------------------------

    def mmap(self, number: int, length: int, prot: int) -> None:
        start, size = BASE + number * PAGE_SIZE, length * PAGE_SIZE
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
        before = self.flags()
        if sys_mmap(self.mm, start, size, PROTS[prot], flags) == ENOMEM:
            after = self.flags()
            if after != before:
                self.forget(start, start + size)
                gone = {page: flags for page, flags in before.items() if not start <= page < start + size}
                assert after == gone, "the range is as it was, or empty"
        else:
            self.forget(start, start + size)
            assert all(page in self.flags() for page in range(start, start + size, PAGE_SIZE))

    def munmap(self, number: int, length: int, _: int) -> None:
        start, end = BASE + number * PAGE_SIZE, BASE + (number + length) * PAGE_SIZE
        before = self.flags()
        result = do_munmap(self.mm, start, end - start)
        if result == ENOMEM:
            assert self.flags() == before
        else:
            assert result == 0
            self.forget(start, end)
            assert not any(start <= page < end for page in self.flags())

    def mprotect(self, number: int, length: int, prot: int) -> None:
        start, end = BASE + number * PAGE_SIZE, BASE + (number + length) * PAGE_SIZE
        result = sys_mprotect(self.mm, start, end - start, PROTS[prot])
        assert result in (0, ENOMEM)
        if result == 0:
            after = self.flags()
            assert all(after[page] & 7 == PROTS[prot] for page in range(start, end, PAGE_SIZE))

    def mremap(self, number: int, target: int, how: int) -> None:
        start, to = BASE + number * PAGE_SIZE, BASE + target * PAGE_SIZE
        old, new = (how % 4 + 1) * PAGE_SIZE, (how // 8 + 1) * PAGE_SIZE
        flags = (0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED)[how % 4]
        if how in (7, 23):
            flags, new = flags | MREMAP_DONTUNMAP, old
        before, there = self.flags(), dict(self.written)
        result = sys_mremap(self.mm, start, old, new, flags, to)
        if result >= 0:
            moved = min(old, new) if result != start or new < old else 0
            if result != start:
                self.forget(result, result + new)
                self.forget(start, start + old)
                for offset in range(0, moved, PAGE_SIZE):
                    if start + offset in there:
                        self.written[result + offset] = there[start + offset]
            else:
                self.forget(start + new, start + old)
        elif flags & MREMAP_FIXED:
            after = self.flags()
            self.written = {page: token for page, token in self.written.items() if page in after}
        else:
            assert self.flags() == before

    def madvise(self, number: int, length: int, advice: int) -> None:
        start, end = BASE + number * PAGE_SIZE, BASE + (number + length) * PAGE_SIZE
        sys_madvise(self.mm, start, end - start, ADVICE[advice])
        if ADVICE[advice] == MADV_DONTNEED:
            mapped = self.flags()
            for page in range(start, end, PAGE_SIZE):
                if page in mapped:
                    self.written[page] = 0
            self.written = {page: token for page, token in self.written.items() if token != 0}

    def brk(self, number: int, *_: int) -> None:
        wanted, before = HEAP + number * PAGE_SIZE, self.mm.brk
        result = sys_brk(self.mm, wanted)
        assert result in (wanted, before)
        if result < before:
            self.forget(result, before)

    def somewhere(self, number: int) -> int:
        """Mostly a mapped page, sometimes not."""
        there = sorted(self.flags())
        return there[number % len(there)] if there and number else BASE + number * PAGE_SIZE

    def store(self, number: int, *_: int) -> None:
        page = self.somewhere(number)
        token = next(self.tokens)
        may = self.flags().get(page, 0) & VM_WRITE
        try:
            user_store(self.mm, page, token)
        except Killed:
            return
        assert may
        self.written[page] = token

    def load(self, number: int, *_: int) -> None:
        page = self.somewhere(number)
        may = self.flags().get(page, 0) & (VM_READ | VM_WRITE)
        try:
            token = user_load(self.mm, page)
        except Killed:
            return
        assert may
        assert token == self.written.get(page, 0)

    def compact(self, *_: int) -> None:
        compact_zone(self.machine.memory)

    # -- the end --------------------------------------------------------------------------------------------------

    def read_all(self) -> None:
        mapped = self.flags()
        for page, token in self.written.items():
            if mapped[page] & VM_READ:
                try:
                    assert user_load(self.mm, page) == token
                except Killed as why:
                    assert str(ENOMEM) in str(why), why  # noqa: PT017

    def end(self) -> None:
        exit_mmap(self.mm)
        self.machine.remove_mm(self.mm)


def play(script: list[Step], era: str) -> None:
    machine = boot(FRAMES, era)
    tokens = count(1)
    pair: list[Any] = [Beside(machine, machine.add_mm(name, HEAP), tokens) for name in ("cc1", "as")]
    for one in pair:
        one.brk(4)
        for number in range(1, 4):
            one.store(number)
    for which, (kind, *arguments) in script:
        one = pair[which]
        if kind == "fork":
            child = sys_fork(machine, one.mm, f"{one.mm.name}'")
            if child is not None:
                pair[not which].end()
                kept = Beside(machine, child, tokens)
                mapped = kept.flags()
                wiped = {page for page in mapped if mapped[page] & VM_WIPEONFORK}
                kept.written = {
                    page: token for page, token in one.written.items() if page in mapped and page not in wiped
                }
                pair[not which] = kept
        elif kind == "exit":
            one.end()
            pair[which] = Beside(machine, machine.add_mm("new", HEAP), tokens)
        else:
            getattr(one, kind)(*arguments)
        assert_invariants(machine)
    for one in pair:
        one.read_all()
        one.end()
    with quiet():
        assert len(machine.memory.free_list) == FRAMES


QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
scripts = st.lists(st.tuples(st.booleans(), calls), min_size=4, max_size=30)


@QUICK
@given(script=scripts, era=st.sampled_from(sorted(ERAS)))
def test_every_call_in_every_era(script: list[Step], era: str) -> None:
    assert_clean(run_alone(lambda: play(script, era)))


@settings(parent=QUICK, max_examples=250)
@given(
    script=scripts, era=st.sampled_from(sorted(ERAS)), faults=st.integers(1, 12), seed=st.integers(0, 9999)
)
def test_every_call_with_failing_allocations(script: list[Step], era: str, faults: int, seed: int) -> None:
    assert_clean(run_alone(lambda: play(script, era), faults=faults, seed=seed))


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
