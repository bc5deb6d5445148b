"""What a reserve before each store costs: nodes that the tree allocates while AIM9's page_test runs.

    python benchmarks/brk_nodes.py [--rounds N] [--json]

Each round cuts 64 KiB off the heap and grows it back by sixteen pages, in seventeen calls of brk. Counted: nodes, and
calls of the slab allocator, for each call of brk; by how much is reserved before a store (nothing: the store takes what
it needs, without reclaim; as v6.6: what this store can need; as v6.1: what any store can need, 3 x height + 1), and by
how many VMAs there are. The address space is that of v6.1, not in RCU mode, or of v6.6, in RCU mode.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import explore
from sugarbush.stress.kit.process import Process
from sugarbush.stress.workloads.heap import HEAP, cut_and_regrow
from sugarbush.tree import MaState
from sugarbush.tree.core.alloc import SlabNodes
from sugarbush.tree.write import preallocate
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.syscalls.mman import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import boot

PAGES = 16
FAR = HEAP + 1024 * PAGE_SIZE
READ_WRITE = 3
RESERVES = ("nothing", "as v6.6", "as v6.1")
ERAS = ("6.1", "6.6")


class Counter:
    """The calls of the slab cache of nodes, and the nodes that they gave, while it is `on`."""

    def __init__(self) -> None:
        self.on = False
        self.calls = 0
        self.nodes = 0

    def wrap(self, original: Any) -> Any:
        def counted(source: SlabNodes, gfp: int, *count: int) -> Any:
            if self.on:
                self.calls += 1
                self.nodes += count[0] if count else 1
            return original(source, gfp, *count)

        return counted


def reserving(how: str) -> Any:
    """How much is reserved before a store."""
    if how == "nothing":
        return patch.object(MaState, "preallocate", lambda *_: 0)
    if how == "as v6.1":
        return patch.object(preallocate, "worst_case", lambda mas, _: 3 * mas.tree.height + 1)
    return ExitStack()


def measure(era: str, how: str, others: int, rounds: int) -> dict[str, Any]:
    """Run the load once, in an address space with so many VMAs beside the heap."""
    counter = Counter()
    heights = []

    def program() -> None:
        machine = boot(2 * PAGES + 2, era)
        process = Process(machine.add_mm("page_test", HEAP))
        for number in range(others):
            flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
            sys_mmap(process.mm, FAR + 2 * number * PAGE_SIZE, PAGE_SIZE, READ_WRITE, flags)
        process.brk(HEAP + 2 * PAGES * PAGE_SIZE)
        counter.on = True
        cut_and_regrow(process, rounds, PAGES)
        counter.on = False
        heights.append(getattr(process.mm.mm_mt, "height", 0))
        exit_mmap(process.mm)
        machine.remove_mm(process.mm)

    with ExitStack() as stack:
        stack.enter_context(reserving(how))
        for name in ("alloc", "alloc_bulk"):
            stack.enter_context(patch.object(SlabNodes, name, counter.wrap(getattr(SlabNodes, name))))
        assert explore(program, executions=1).failures == []
    calls = rounds * (PAGES + 1) + 1
    return {
        "era": era,
        "VMAs": others + 1,
        "height": heights[0],
        "reserved": how,
        "nodes a brk": round(counter.nodes / calls, 2),
        "slab calls a brk": round(counter.calls / calls, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [
        measure(era, how, others, options.rounds) for era in ERAS for others in (0, 60) for how in RESERVES
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")


if __name__ == "__main__":
    main()
