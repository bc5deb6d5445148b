"""A user process that knows what it wrote: every byte that it reads back is compared."""

from __future__ import annotations

from concurrency import Failure, Kind, checked, fail
from vm.brk import sys_brk
from vm.layout import PAGE_SIZE
from vm.mm import MM_ANONPAGES, MmStruct, get_mm_counter
from vm.user import user_load, user_store


class Process:
    """One process. A page is written whole, with a token; a page that was never written reads 0."""

    def __init__(self, mm: MmStruct) -> None:
        self.mm = mm
        self.written: dict[int, object] = {}
        """What it wrote last, by the address of the page; these pages are resident."""

    @property
    def name(self) -> str:
        """The name of its address space."""
        return self.mm.name

    def store(self, address: int, token: object) -> None:
        """Write `token` to the page at `address`."""
        user_store(self.mm, address, token)
        self.written[address] = token

    def load(self, address: int) -> object:
        """Read the page at `address` back; something else than was written is corruption (I11)."""
        token = user_load(self.mm, address)
        expected = self.written.setdefault(address, 0)
        if token != expected:
            self._corrupted(f"{token!r} at {address:#x}, where it wrote {expected!r}")
        return token

    def brk(self, brk: int) -> int:
        """Move the end of the heap; what lies above is gone."""
        brk = sys_brk(self.mm, brk)
        for address in [
            address for address in self.written if self.mm.start_brk <= address and brk <= address
        ]:
            del self.written[address]
        return brk

    def check_resident(self) -> None:
        """Read RssAnon from /proc/self/status: the pages written and nothing else."""
        resident = get_mm_counter(self.mm, MM_ANONPAGES)
        if resident != len(self.written):
            kib = PAGE_SIZE // 1024
            self._corrupted(f"RssAnon: {resident * kib} kB, where it wrote {len(self.written) * kib} kB")

    def _corrupted(self, what: str) -> None:
        if checked("private-data"):
            headline = f"corruption: process {self.name} reads back {what}"
            fail(Failure(Kind.CORRUPTION, headline, check="private-data"))
