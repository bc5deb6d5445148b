"""A process that makes system calls, and a plain model of pages beside it: what it must find where."""

from __future__ import annotations

from collections.abc import Iterator

from vm_world import HEAP

from sugarbush.concurrency.lowlevel import quiet
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.objects.errno import EFAULT, ENOMEM
from sugarbush.vm.objects.layout import PAGE_SIZE, VM_READ, VM_WIPEONFORK, VM_WRITE
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.reclaim.mempolicy import do_mbind
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.workqueue import Workqueue
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.exec import STACK_TOP_MAX, bprm_mm_init, setup_arg_pages
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_DONTDUMP,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_WIPEONFORK,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
)
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine
from sugarbush.vm.vmas.munmap import do_munmap

BASE = HEAP - 8 * PAGE_SIZE
PAGES = 16
MAPPED = HEAP + 40 * PAGE_SIZE
STACK_ROOM = 64 * PAGE_SIZE
STACK_TOP = STACK_TOP_MAX - 64 * PAGE_SIZE
ADVICE = (
    MADV_DONTNEED,
    MADV_FREE,
    MADV_RANDOM,
    MADV_DONTFORK,
    MADV_WIPEONFORK,
    MADV_POPULATE_WRITE,
    MADV_DONTDUMP,
)
DROPPING = (MADV_DONTNEED, MADV_FREE)
PROTS = (3, 3, 1, 0)


class CallingProcess:
    """A process, and what it wrote where, as far as it must still be there."""

    def __init__(self, machine: Machine, mm: MmStruct, tokens: Iterator[int], kevent: Workqueue) -> None:
        self.machine = machine
        self.mm = mm
        self.tokens = tokens
        self.kevent = kevent
        self.written: dict[int, object] = {}

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

    def munmap(self, number: int, length: int) -> None:
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
        if ADVICE[advice] in DROPPING:
            mapped = self.flags()
            for page in range(start, end, PAGE_SIZE):
                if page in mapped:
                    self.written[page] = 0
            self.written = {page: token for page, token in self.written.items() if token != 0}

    def brk(self, number: int) -> None:
        wanted, before = HEAP + number * PAGE_SIZE, self.mm.brk
        result = sys_brk(self.mm, wanted)
        assert result in (wanted, before)
        if result < before:
            self.forget(result, before)

    def somewhere(self, number: int) -> int:
        """Mostly a mapped page, but not of the file, sometimes none."""
        there = [page for page in sorted(self.flags()) if not MAPPED <= page < STACK_TOP - STACK_ROOM]
        return there[number % len(there)] if there and number else BASE + number * PAGE_SIZE

    def store(self, number: int) -> None:
        page = self.somewhere(number)
        token = next(self.tokens)
        may = self.flags().get(page, 0) & VM_WRITE
        try:
            user_store(self.mm, page, token)
        except Killed:
            return
        assert may
        self.written[page] = token

    def load(self, number: int) -> None:
        page = self.somewhere(number)
        may = self.flags().get(page, 0) & (VM_READ | VM_WRITE)
        try:
            token = user_load(self.mm, page)
        except Killed:
            return
        assert may
        assert token == self.written.get(page, 0)

    def compact(self) -> None:
        compact_zone(self.machine.memory)

    def mbind(self, number: int) -> None:
        before = self.flags()
        result = do_mbind(self.mm, self.kevent, BASE + number * PAGE_SIZE, 4 * PAGE_SIZE)
        assert result in (0, EFAULT)
        assert self.flags() == before

    def fork(self) -> CallingProcess | None:
        mm = sys_fork(self.machine, self.mm, f"{self.mm.name}'")
        if mm is None:
            return None
        child = CallingProcess(self.machine, mm, self.tokens, self.kevent)
        there = child.flags()
        child.written = {
            page: token
            for page, token in self.written.items()
            if page in there and not there[page] & VM_WIPEONFORK
        }
        return child

    def execve(self) -> None:
        """A new stack, which moves to its place with its first page."""
        if bprm_mm_init(self.mm) == ENOMEM:
            assert self.flags() == {}
            return
        token = next(self.tokens)
        try:
            user_store(self.mm, STACK_TOP_MAX - PAGE_SIZE, token)
        except Killed:
            return
        if setup_arg_pages(self.mm, STACK_TOP) == 0:
            self.written[STACK_TOP - PAGE_SIZE] = token

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
