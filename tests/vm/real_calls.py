"""Random calls for the comparison with the running kernel."""

from __future__ import annotations

import random
from typing import Any

from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.syscalls.mman import (
    MADV_COLD,
    MADV_DODUMP,
    MADV_DOFORK,
    MADV_DONTDUMP,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_DONTNEED_LOCKED,
    MADV_FREE,
    MADV_KEEPONFORK,
    MADV_NORMAL,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_REMOVE,
    MADV_SEQUENTIAL,
    MADV_WILLNEED,
    MADV_WIPEONFORK,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
)

LOW = 0x6000_0000_0000
"""Where nothing is, as x86-64 Linux lays out a process."""
PAGES = 20
HIGH = LOW + 64 * PAGE_SIZE
HEAP = LOW + 10 * PAGE_SIZE
Call = list[Any]
Shown = list[list[Any]]


class Calls:
    """Random calls, chosen with a look at what the model has: most of them do something."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def page(self) -> int:
        return LOW + self.rng.randrange(PAGES) * PAGE_SIZE

    def length(self) -> int:
        pages = self.rng.choice((1, 1, 2, 2, 3, 4, 6))
        return pages * PAGE_SIZE - self.rng.choice((0, 0, 0, 0, 0, 1, PAGE_SIZE - 1))

    def prot(self) -> int:
        return self.rng.choice((1, 3, 3, 3, 3, 3, 7, 0))

    def script(self, model: Any, count: int, *, depth: int = 0) -> tuple[list[Call], list[Any]]:
        """So many calls, and the model's answers to them."""
        calls: list[Call] = []
        answers: list[Any] = []
        while len(calls) < count:
            if depth < 2 and self.rng.random() < 0.03:
                with model.child() as child:
                    before = child.window()
                    inner, said = self.script(child, self.rng.randrange(1, 8), depth=depth + 1)
                calls.append(["fork", inner])
                answers.append([[before, said], model.window()])
                continue
            call = self.one(model)
            if call is not None:
                calls.append(call)
                answers += model.run([call])
        return calls, answers

    def one(self, model: Any) -> Call | None:
        kinds = ("mmap", "mmap", "munmap", "mprotect", "mprotect", "mremap", "brk", "madvise", *["touch"] * 4)
        call: Call | None = getattr(self, self.rng.choice(kinds))(model)
        return call

    def mmap(self, model: Any) -> Call | None:
        rng = self.rng
        address, length = self.page(), self.length()
        kind = rng.choice((*[MAP_PRIVATE] * 5, MAP_SHARED))
        file: object = -1
        flags, offset = kind, 0
        if rng.random() < 0.2:
            file, offset = "file", (address - LOW) if rng.random() < 0.7 else rng.randrange(8) * PAGE_SIZE
        else:
            flags |= MAP_ANONYMOUS
        if rng.random() < 0.05:
            flags |= MAP_NORESERVE
        wish = rng.random()
        if wish < 0.8:
            flags |= MAP_FIXED
        elif wish < 0.9:
            flags |= MAP_FIXED_NOREPLACE
        elif any(shown[0] < address + length + PAGE_SIZE and address < shown[1] for shown in model.window()):
            return None
        odd = rng.random()
        if odd < 0.02 and wish < 0.9:
            return ["mmap", address + 1, length, 3, flags, file, offset]
        if odd < 0.04:
            return ["mmap", address, 0, 3, flags, file, offset]
        if odd < 0.05:
            return ["mmap", address, length, 3, flags & ~(MAP_SHARED | MAP_PRIVATE), file, offset]
        if odd < 0.06 and file == "file":
            return ["mmap", address, length, 3, flags, file, offset + 1]
        return ["mmap", address, length, self.prot(), flags, file, offset]

    def munmap(self, _model: Any) -> Call:
        odd = self.rng.random()
        if odd < 0.05:
            return ["munmap", self.page() + self.rng.choice((0, 1)), self.rng.choice((0, PAGE_SIZE, 1 << 60))]
        return ["munmap", self.page(), self.length()]

    def mprotect(self, _model: Any) -> Call:
        odd = self.rng.random()
        if odd < 0.05:
            length = self.rng.choice((0, (1 << 64) - PAGE_SIZE, PAGE_SIZE))
            return ["mprotect", self.page() + self.rng.choice((0, 1)), length, self.rng.choice((0, 3, 0x40))]
        return ["mprotect", self.page(), self.length(), self.prot()]

    def brk(self, _model: Any) -> Call:
        return ["brk", HEAP + self.rng.randrange(-1, 12) * PAGE_SIZE + self.rng.choice((0, 0, 0, 1, -1))]

    def madvise(self, _model: Any) -> Call:
        advice = self.rng.choice(
            (
                MADV_DONTNEED,
                MADV_DONTNEED,
                MADV_NORMAL,
                MADV_RANDOM,
                MADV_SEQUENTIAL,
                MADV_DONTFORK,
                MADV_DOFORK,
                MADV_WIPEONFORK,
                MADV_KEEPONFORK,
                MADV_DONTDUMP,
                MADV_DODUMP,
                MADV_FREE,
                MADV_REMOVE,
                MADV_WILLNEED,
                MADV_COLD,
                MADV_PAGEOUT,
                MADV_POPULATE_READ,
                MADV_POPULATE_WRITE,
                MADV_DONTNEED_LOCKED,
                99,
            )
        )
        return ["madvise", self.page() + (self.rng.random() < 0.03), self.length(), advice]

    def touch(self, model: Any) -> Call | None:
        """Write to private memory: what decides which VMAs may become one."""
        there = [
            page
            for start, end, rights, _, file in model.window()
            if rights[:2] == "rw" and rights[3] == "p" and not file
            for page in range(start, end, PAGE_SIZE)
        ]
        return ["touch", self.rng.choice(there)] if there else None

    def mremap(self, model: Any) -> Call | None:
        """Of one mapping: since v6.17 a move may take several, and checks come before it unmaps what is in the way.

        Where the kernel would choose the place, no two agree; so a mapping that has to move is told where to.
        """
        rng = self.rng
        vmas = model.window()
        if not vmas:
            return ["mremap", self.page(), PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE, 0]
        start, end, *_ = rng.choice(vmas)
        address = start + rng.randrange((end - start) // PAGE_SIZE) * PAGE_SIZE
        pages = rng.randrange(1, (end - address) // PAGE_SIZE + 1)
        old, new = pages * PAGE_SIZE, rng.randrange(1, 6) * PAGE_SIZE
        if rng.random() < 0.5:
            target = self.page()
            flags = MREMAP_MAYMOVE | MREMAP_FIXED
            if rng.random() < 0.2:
                flags, new = flags | MREMAP_DONTUNMAP, old
            if rng.random() < 0.05:
                target += 1
            return ["mremap", address, old, new, flags, target]
        odd = rng.random()
        if odd < 0.1:
            return [
                "mremap",
                address + (odd < 0.05),
                old,
                0 if odd > 0.03 else new,
                rng.choice((0, 2, 4, 8)),
                0,
            ]
        return ["mremap", address, old, new, 0, 0]
