"""Which stores need their reserve: for each store of the mm model, under which locks it is done and what it takes.

    python benchmarks/store_reserves.py [--calls N] [--seed N] [--json]

"I'd like to find out which are needed": a reserve is needed where a store is done under an rmap lock and takes nodes.
Where it takes nodes without such a lock, the store could allocate for itself; where it never takes any, it could do
without. Random calls of one process at a time that forks now and then: mmap, of a file too, munmap, mprotect, mremap,
brk. Counted per place: stores, those under an rmap lock, those that took nodes, those of which both is true, and the
most nodes that one took.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import RwSemaphore, explore
from sugarbush.stress.kit.patches import Patch, applied
from sugarbush.stress.kit.process import Process
from sugarbush.stress.workloads.mappings import end, map_file, page
from sugarbush.tree import MaState
from sugarbush.tree.write import stash
from sugarbush.vm.access.user import Killed
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import AddressSpace
from sugarbush.vm.syscalls.mman import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.vmas.machine import boot

ERAS = ("6.1", "6.6")
WINDOW = 120
HEAP = 2 * WINDOW
RMAP_LOCKS = ("anon_vma->rwsem", "mapping->i_mmap_rwsem")


class Stores:
    """What was seen, by the place that stores."""

    def __init__(self) -> None:
        self.places: dict[str, dict[str, int]] = {}
        self.locks = 0
        self.taken = 0
        self.reserved: list[Any] = []

    def preallocate(self, mas: Any, *args: Any) -> Any:
        self.reserved.append(mas)
        return PREALLOCATE(mas, *args)

    def store_prealloc(self, mas: Any, entry: Any) -> None:
        first = any(one is mas for one in self.reserved)
        self.reserved = [one for one in self.reserved if one is not mas]
        self._note("" if first else ", second store", STORE_PREALLOC, mas, entry)

    def store_gfp(self, mas: Any, *args: Any) -> None:
        self._note(", no reserve", STORE_GFP, mas, *args)

    def _note(self, suffix: str, store: Any, mas: Any, *args: Any) -> None:
        self.taken = 0
        store(mas, *args)
        seen = self.places.setdefault(
            place() + suffix, {"stores": 0, "under an rmap lock": 0, "took nodes": 0, "both": 0, "most": 0}
        )
        seen["stores"] += 1
        seen["under an rmap lock"] += self.locks > 0
        seen["took nodes"] += self.taken > 0
        seen["both"] += self.locks > 0 < self.taken
        seen["most"] = max(seen["most"], self.taken)

    def down_write(self, lock: Any, *args: Any, **options: Any) -> Any:
        self.locks += lock.name in RMAP_LOCKS
        return DOWN_WRITE(lock, *args, **options)

    def up_write(self, lock: Any) -> None:
        UP_WRITE(lock)
        self.locks -= lock.name in RMAP_LOCKS

    def take(self, mas: Any) -> Any:
        self.taken += 1
        return TAKE(mas)


PREALLOCATE, STORE_PREALLOC, STORE_GFP = MaState.preallocate, MaState.store_prealloc, MaState.store_gfp
DOWN_WRITE, UP_WRITE = RwSemaphore.down_write, RwSemaphore.up_write
TAKE = stash.take


def place() -> str:
    """The function of the model that stores; for the one that all changes of borders share, its caller as well."""
    frame = sys._getframe(3)
    while (
        not frame.f_globals["__name__"].startswith("sugarbush.vm.")
        or frame.f_globals["__name__"] == "sugarbush.vm.spaces.find"
    ):
        assert frame.f_back is not None
        frame = frame.f_back
    name = frame.f_code.co_name
    if name == "vma_adjust" and frame.f_back is not None:
        return f"{name}() for {frame.f_back.f_code.co_name}()"
    return f"{name}()"


def call(chance: Random, process: Process, file: AddressSpace) -> None:
    """One random call."""
    number, pages = chance.randrange(WINDOW), chance.randint(1, 4)
    kind = chance.choice(["map", "map", "map", "file", "unmap", "protect", "move", "brk", "store"])
    if kind == "map":
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
        sys_mmap(process.mm, page(number), pages * PAGE_SIZE, chance.choice([1, 3]), flags)
    elif kind == "file":
        map_file(process, file, number, pages, first=number, shared=chance.random() < 0.5)
    elif kind == "unmap":
        process.munmap(page(number), pages)
    elif kind == "protect":
        sys_mprotect(process.mm, page(number), pages * PAGE_SIZE, chance.choice([1, 3]))
    elif kind == "move":
        process.mremap(page(number), 1, page(WINDOW + chance.randrange(WINDOW // 2)))
    elif kind == "brk":
        process.brk(page(HEAP + chance.randrange(8)))
    else:
        try:
            process.store(page(number if chance.random() < 0.7 else HEAP + pages), number)
        except Killed:
            pass


def measure(era: str, calls: int, seed: int) -> list[dict[str, Any]]:
    """Run the load once."""
    stores, chance = Stores(), Random(seed)

    def program() -> None:
        machine = boot(500, era)
        process = Process(machine.add_mm("proc0", page(HEAP)))
        file = AddressSpace("a.out")
        for number in range(calls):
            call(chance, process, file)
            if number % 60 == 59:
                child = process.fork(machine, f"proc{number}")
                assert child is not None
                child.brk(page(HEAP + 9))
                end(machine, process)
                process = child
        end(machine, process)
        fput(machine.memory, file)

    with ExitStack() as stack:
        for owner, name in (
            (MaState, "preallocate"),
            (MaState, "store_prealloc"),
            (MaState, "store_gfp"),
            (RwSemaphore, "down_write"),
            (RwSemaphore, "up_write"),
        ):
            bound = getattr(stores, name)
            stack.enter_context(
                patch.object(owner, name, lambda self, *a, bound=bound, **k: bound(self, *a, **k))
            )
        stack.enter_context(applied([Patch(TAKE, stores.take)]))  # type: ignore[arg-type]
        found = explore(program, executions=1).failures
        assert found == [], found[0].failure
    return [{"era": era, "store": where, **seen} for where, seen in sorted(stores.places.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [row for era in ERAS for row in measure(era, options.calls, options.seed)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")


if __name__ == "__main__":
    main()
