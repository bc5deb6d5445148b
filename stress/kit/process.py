"""A user process that knows what it wrote: every byte that it reads back is compared."""

from __future__ import annotations

from sugarbush.concurrency import Failure, Kind, current_task
from sugarbush.concurrency.lowlevel import checked, fail
from sugarbush.vm.access import user_load, user_store
from sugarbush.vm.objects import MM_ANONPAGES, PAGE_SIZE, MmStruct
from sugarbush.vm.spaces import get_mm_counter
from sugarbush.vm.syscalls import (
    MADV_DONTNEED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    sys_brk,
    sys_fork,
    sys_madvise,
    sys_mremap,
)
from sugarbush.vm.vmas import Machine, do_munmap, exit_mmap


class Process:
    """One process. A page is written whole, with a token; a page that was never written reads 0.

    Its threads may share it if no two of them use one page at a time: what a page holds must be known.
    """

    def __init__(self, mm: MmStruct) -> None:
        self.mm = mm
        self.written: dict[int, object] = {}
        """What it wrote last, by the address of the page; these pages are resident."""
        self._stores: list[tuple[int, object, str]] = []

    @property
    def name(self) -> str:
        """The name of its address space."""
        return self.mm.name

    def store(self, address: int, token: object) -> None:
        """Write `token` to the page at `address`."""
        user_store(self.mm, address, token)
        self.written[address] = token
        self._stores.append((address, token, current_task().name))

    def load(self, address: int) -> object:
        """Read the page at `address` back; something else than was written is corruption (I11)."""
        token = user_load(self.mm, address)
        expected = self.written.get(address, 0)
        if token != expected:
            self._corrupted(
                f"{token!r} at {address:#x}, where it wrote {expected!r}", self._origin(address, token)
            )
        return token

    def brk(self, brk: int) -> int:
        """Move the end of the heap; what lies above is gone."""
        # Where the heap ends now, not what was asked for: brk() may refuse, and gives the old end then.
        brk = sys_brk(self.mm, brk)
        for address in [
            address for address in self.written if self.mm.start_brk <= address and brk <= address
        ]:
            del self.written[address]
        return brk

    def munmap(self, start: int, pages: int) -> int:
        """Unmap pages; what was in them is gone."""
        result = do_munmap(self.mm, start, pages * PAGE_SIZE)
        if result == 0:
            self._forget(start, pages)
        return result

    def dontneed(self, start: int, pages: int) -> int:
        """madvise(MADV_DONTNEED): from here on the pages read as fresh (I15)."""
        result = sys_madvise(self.mm, start, pages * PAGE_SIZE, MADV_DONTNEED)
        if result == 0:
            self._forget(start, pages)
        return result

    def mremap(self, old: int, pages: int, new: int) -> int:
        """Move pages to a fixed place; what was in them is there now."""
        size = pages * PAGE_SIZE
        result = sys_mremap(self.mm, old, size, size, MREMAP_FIXED | MREMAP_MAYMOVE, new)
        if result == new:
            moved = {
                address + new - old: token
                for address, token in self.written.items()
                if old <= address < old + size
            }
            self._forget(old, pages)
            self._forget(new, pages)
            self.written.update(moved)
        return result

    def fork(self, machine: Machine, name: str) -> Process | None:
        """A child that has what this process wrote; None without memory."""
        written = dict(self.written)
        mm = sys_fork(machine, self.mm, name)
        if mm is None:
            return None
        child = Process(mm)
        child.written = written
        return child

    def exit(self, machine: Machine) -> None:
        """The end of the process; no thread of it may run any more."""
        exit_mmap(self.mm)
        machine.remove_mm(self.mm)

    def check_resident(self) -> None:
        """Read RssAnon from /proc/self/status: the pages written and nothing else."""
        resident = get_mm_counter(self.mm, MM_ANONPAGES)
        if resident != len(self.written):
            kib = PAGE_SIZE // 1024
            self._corrupted(f"RssAnon: {resident * kib} kB, where it wrote {len(self.written) * kib} kB", "")

    def _forget(self, start: int, pages: int) -> None:
        for number in range(pages):
            self.written.pop(start + number * PAGE_SIZE, None)

    def _origin(self, address: int, token: object) -> str:
        """Where what was read comes from, and whose store is missing."""
        last = next((store for store in reversed(self._stores) if store[0] == address), None)
        lost = "" if last is None else f"the last store there was {last[1]!r} by {last[2]}"
        where = [f"{place:#x} by {task}" for place, written, task in self._stores if written == token]
        source = (
            f"{token!r} was written to {where[-1]}"
            if where
            else f"{token!r} was never written by {self.name}"
        )
        return f"{source}; {lost}" if lost else source

    def _corrupted(self, what: str, detail: str) -> None:
        if checked("private-data"):
            headline = f"corruption: process {self.name} reads back {what}"
            fail(Failure(Kind.CORRUPTION, headline, detail, check="private-data"))
