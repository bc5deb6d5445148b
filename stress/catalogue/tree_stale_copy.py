"""A store over several ranges writes the new contents of a node: what is kept of the first range, the new entry, what
is kept of the last one. Where the store ended exactly where the last of them ends, nothing of it is kept; but it was
kept, and so a VMA that had been unmapped stood in the node a second time, behind the hole that it left.

Nothing fails at once. Splits and merges that came later met the VMA again, with a range that was not its own, and a
machine under a swapping load with the maple tree series of July 2022 died of it elsewhere; it was met in a compiler
that cut a small VMA out of some sixty. Which slots were counted wrong in the series we know from its fix only in
outline.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import Kind
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page, read_back
from sugarbush.tree.core import MapleNode
from sugarbush.tree.write import write
from sugarbush.vm.objects import PAGE_SIZE
from sugarbush.vm.syscalls import PROT_READ
from sugarbush.vm.vmas import boot, do_munmap


@patch(write.in_leaf)
def in_leaf(
    node: MapleNode, begin: int, offset: int, offset_end: int, first: int, last: int, entry: Any
) -> tuple[list[Any], list[int]]:
    """Keep the last of several slots also where nothing of it is left."""
    upto = node.pivots[offset_end]
    slots, pivots = [entry], [last]
    if begin < first:
        slots.insert(0, node.slots[offset])
        pivots.insert(0, first - 1)
    if last < upto or offset_end > offset:
        slots.append(node.slots[offset_end])
        pivots.append(upto)
    return slots, pivots


@bug(
    "tree-stale-copy",
    id="Z18",
    title="a store leaves a copy of what it replaced in the node",
    year=2022,
    versions="linux-next, v11 of the maple tree series",
    fix="v12 of the series: mas_wr_node_store() copies what is behind the store",
    evidence="read",
    kind=Kind.INVARIANT,
    check="vma-index",
    patches=(in_leaf,),
    tasks=1,
    preemptions=0,
)
def tree_stale_copy() -> None:
    """Unmap two of four mappings that stand side by side."""
    machine = boot(6)
    process = Process(machine.add_mm("cc1", BASE))
    for number in range(4):
        map_pages(process, number, 1, prot=PROT_READ if number % 2 else 3)
    fill(process, 0)
    do_munmap(process.mm, page(1), 2 * PAGE_SIZE)
    read_back(process)
    end(machine, process)
