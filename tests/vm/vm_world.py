"""Running the mm model beside a plain model of it: which pages are mapped, with which flags, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from sugarbush.concurrency import Result, Settings, explore
from sugarbush.concurrency.lowlevel import Observer, quiet
from sugarbush.stress.kit.checks import model_observers
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.checks.invariants import coverage, huge_in_vma, mapcounts, rights, swap_counts, vma_index
from sugarbush.vm.checks.rmap_invariants import anon_vma_chain, interval_tree
from sugarbush.vm.objects.errno import EINVAL, ENOMEM
from sugarbush.vm.objects.layout import (
    MMAP_MIN_ADDR,
    PAGE_SIZE,
    TASK_SIZE,
    VM_ACCOUNT,
    VM_DATA_FLAGS,
    VM_READ,
    VM_WRITE,
    page_align,
)
from sugarbush.vm.objects.mm_types import MM_ANONPAGES
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.spaces.mm import get_mm_counter
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.mmap import do_mmap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine
from sugarbush.vm.vmas.munmap import do_munmap

HEAP = 0x10_0000
WINDOW = 20
"""The pages from 4 below the heap on that fixed mappings are put into."""
HEAP_FLAGS = VM_DATA_FLAGS | VM_ACCOUNT

Action = tuple[str, int, int, int]


def page(number: int) -> int:
    """The address of a page of the window."""
    return HEAP + (number - 4) * PAGE_SIZE


def run_alone(
    program: Callable[[], object],
    *,
    executions: int = 1,
    faults: int = 0,
    seed: int = 1,
    strategy: str = "random",
    without: Sequence[str] = (),
    observers: Callable[[], Sequence[Observer]] = model_observers,
) -> Result:
    """Run a program under all checks."""
    settings = Settings(without=frozenset(without), faults=faults, observers=observers)
    return explore(program, strategy=strategy, executions=executions, seed=seed, settings=settings)


def assert_clean(result: Result) -> None:
    """Nothing failed; an assertion of a program is shown where it failed."""
    for one in result.failures:
        raise AssertionError(f"{one.failure.headline}\n{one.failure.detail}\n{one.schedule}") from one.failure


def assert_invariants(machine: Machine) -> None:
    """All invariants hold, for a moment at which nobody holds a lock."""
    with quiet():
        assert coverage(machine.mms, machine.memory) is None
        assert mapcounts(machine.mms, machine.memory) is None
        assert swap_counts(machine.mms, machine.memory) is None
        for mm in machine.mms:
            assert vma_index(mm) is None
            assert rights(mm) is None
            assert huge_in_vma(mm) is None
            assert anon_vma_chain(mm) is None
            for _, _, vma in mm.mm_mt.ranges():
                assert interval_tree(vma) is None
            mm.mm_mt.validate()
        for folio in machine.memory.free_list:
            assert (folio.refcount, folio.mapcount, folio.lock.free) == (0, 0, True)


class Beside:
    """One process, and beside it the plain model: `mapped` has the flags, `written` the content of each page.

    With `may_fail`, -ENOMEM is accepted anywhere, if it has changed nothing.
    """

    def __init__(self, machine: Machine, name: str = "cc1", *, may_fail: bool = False) -> None:
        self.machine = machine
        self.mm = machine.add_mm(name, HEAP)
        self.may_fail = may_fail
        self.brk = HEAP
        self.mapped: dict[int, int] = {}
        self.written: dict[int, object] = {}
        self.tokens = 0

    # -- the actions ------------------------------------------------------------------------------------------------

    def do(self, action: Action) -> None:
        """Do one action in both, and compare."""
        kind, first, second, third = action
        getattr(self, kind)(first, second, third)
        self.compare()

    def map_at(self, number: int, pages: int, flags: int) -> None:
        address = page(number)
        before = self._shown()
        result = do_mmap(self.mm, address, pages * PAGE_SIZE, flags)
        if self._failed(result):
            after = self._shown()
            if after != before:
                self._unmap(address, pages)
                assert after == self.mapped, "a failed mmap leaves the range as it was, or empty"
            return
        assert result == address
        self._unmap(address, pages)
        self.mapped.update(dict.fromkeys(_pages(address, pages), flags))

    def map_anywhere(self, _number: int, pages: int, flags: int) -> None:
        top = TASK_SIZE
        for address in sorted(self.mapped, reverse=True):
            if top - address - PAGE_SIZE >= pages * PAGE_SIZE:
                break
            top = address
        result = do_mmap(self.mm, None, pages * PAGE_SIZE, flags)
        if not self._failed(result):
            assert result == top - pages * PAGE_SIZE
            self.mapped.update(dict.fromkeys(_pages(result, pages), flags))

    def unmap(self, number: int, pages: int, _flags: int) -> None:
        result = do_munmap(self.mm, page(number), pages * PAGE_SIZE)
        if pages == 0:
            assert result == EINVAL
        elif not self._failed(result):
            assert result == 0
            self._unmap(page(number), pages)

    def move_brk(self, number: int, _pages_: int, rest: int) -> None:
        brk = page(number) - rest
        old, new = page_align(self.brk), page_align(brk)
        expected = self.brk
        above = [address for address in self.mapped if address >= old]
        cut = [address for address in self.mapped if new <= address < old]
        if brk >= HEAP and (
            new == old or (new < old and cut) or (new > old and not (above and new + PAGE_SIZE > min(above)))
        ):
            expected = brk
        result = sys_brk(self.mm, brk)
        if result != expected:
            assert self.may_fail
            assert result == self.brk
            return
        if expected == brk:
            self.brk = brk
            self._unmap(new, (old - new) // PAGE_SIZE)
            self.mapped.update(dict.fromkeys(_pages(old, (new - old) // PAGE_SIZE), HEAP_FLAGS))

    def store(self, number: int, *_rest: int) -> None:
        address = self._somewhere(number)
        self.tokens += 1
        try:
            user_store(self.mm, address, self.tokens)
        except Killed:
            assert not self.mapped.get(address, 0) & VM_WRITE or self.may_fail
        else:
            assert self.mapped[address] & VM_WRITE
            self.written[address] = self.tokens

    def load(self, number: int, *_rest: int) -> None:
        address = self._somewhere(number)
        try:
            token = user_load(self.mm, address)
        except Killed:
            assert address not in self.mapped or self.may_fail
        else:
            assert address in self.mapped
            assert token == self.written.get(address, 0)

    def compact(self, *_rest: int) -> None:
        compact_zone(self.machine.memory)

    # -- comparing --------------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Both say the same, and all invariants hold."""
        assert self._shown() == self.mapped
        assert self.mm.brk == self.brk
        assert get_mm_counter(self.mm, MM_ANONPAGES) == len(self.written)
        assert_invariants(self.machine)

    def read_all(self) -> None:
        """Everything that was written is still there."""
        for address, token in self.written.items():
            assert user_load(self.mm, address) == token

    def end(self) -> None:
        """The process exits; nothing of it is left."""
        exit_mmap(self.mm)
        self.machine.remove_mm(self.mm)
        assert not self.mm_left()

    def mm_left(self) -> bool:
        """The machine still knows the address space."""
        return any(mm is self.mm for mm in self.machine.mms)

    def _shown(self) -> dict[int, int]:
        with quiet():
            return {
                address: vma.vm_flags
                for first, last, vma in self.mm.mm_mt
                for address in range(first, last + 1, PAGE_SIZE)
            }

    def _failed(self, result: int) -> bool:
        assert result >= 0 or (self.may_fail and result == ENOMEM), result
        return result < 0

    def _unmap(self, address: int, pages: int) -> None:
        for gone in _pages(address, pages):
            self.mapped.pop(gone, None)
            self.written.pop(gone, None)

    def _somewhere(self, number: int) -> int:
        """Mostly a mapped page, sometimes not."""
        there = sorted(self.mapped)
        return there[number % len(there)] if there and number % 7 else page(number)


def _pages(address: int, pages: int) -> range:
    return range(address, address + pages * PAGE_SIZE, PAGE_SIZE)


numbers = st.integers(0, WINDOW - 1)
lengths = st.integers(1, 6)
flags = st.sampled_from([VM_DATA_FLAGS, HEAP_FLAGS, VM_READ])
actions = st.one_of(
    st.tuples(st.just("map_at"), numbers, lengths, flags),
    st.tuples(st.just("map_anywhere"), numbers, lengths, flags),
    st.tuples(st.just("unmap"), numbers, st.integers(0, 6), st.just(0)),
    st.tuples(st.just("move_brk"), numbers, st.just(0), st.sampled_from([0, 0, 1, PAGE_SIZE - 1])),
    st.tuples(st.sampled_from(["store", "load"]), st.integers(0, 40), st.just(0), st.just(0)),
    st.tuples(st.just("compact"), st.just(0), st.just(0), st.just(0)),
)
assert page(0) >= MMAP_MIN_ADDR
