"""How the maple tree and what it replaced play out on the CPU cache: a table, not an opinion.

    python benchmarks/tree_cache.py [--out DIR] [--counts 10 100 1000 10000 100000]

For each operation of an address space: the 64-byte lines that it touches and dirties, with every object laid out as in
the kernel (a maple node has 256 bytes, aligned; a VMA of v5.19 has 200, twenty to a page, with its tree and list links
and the gap in its first 64 bytes), the nodes that it allocates, the height of the tree, and the locks that it holds.
Averages over random calls; written as Markdown and JSON.

What is counted. Maple tree, a look-up: per level the pivots up to the one that decides, the words that say where the
node ends, the slot, the parent word (dead test). A store: the walk, all of each node that it copies, each word that
differs afterwards. Siblings that were looked at and left alone are not counted. The red-black tree: every word of every
node that the code reads or writes. Both: one line for the structure's own head. The VMA itself is allocated in both
cases and counted in neither.
"""

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from sugarbush.tree import MapleTree, MaState, RbStore
from sugarbush.tree.core.alloc import PlainNodes
from sugarbush.tree.core.layout import ARANGE_64, LEAF_64
from sugarbush.tree.core.node import MapleNode
from sugarbush.tree.vma import rbstore
from sugarbush.tree.vma.rbtree import RbNode

PAGE = 4096
BASE = 0x10000
LINE = 64
VMA_SIZE = 200
VMAS_A_PAGE = PAGE // VMA_SIZE

Lines = set[tuple[int, int]]


class Cost:
    """The lines of one call."""

    def __init__(self) -> None:
        self.touched: Lines = set()
        self.dirtied: Lines = set()
        self.nodes = 0


# -- the maple tree ---------------------------------------------------------------------------------------------------

PARENT = 0


def pivot(slot: int) -> int:
    return 8 + 8 * slot


def slot_word(node: MapleNode, slot: int) -> int:
    return (80 if node.kind == ARANGE_64 else 128) + 8 * slot


def gap_word(slot: int) -> int:
    return 160 + 8 * slot


def end_words(node: MapleNode) -> list[int]:
    """What tells where a node ends: its metadata, and before that pivot 14 in a node of 16 slots."""
    return [240] if node.kind == ARANGE_64 else [pivot(14), 248]


def words(node: MapleNode) -> dict[int, Any]:
    """All words of a node in use, by offset."""
    found: dict[int, Any] = {PARENT: node.up}
    limit = 9 if node.kind == ARANGE_64 else 15
    for at, (child, last) in enumerate(zip(node.slots, node.pivots, strict=True)):
        if at < limit:
            found[pivot(at)] = last
        found[slot_word(node, at)] = id(child)
        if node.gaps is not None:
            found[gap_word(at)] = node.gaps[at]
    if node.kind == ARANGE_64:
        found[240] = (len(node.slots), node.gap_offset)
    elif len(node.slots) < 16:
        found[248] = len(node.slots)
    return found


def lines(node: MapleNode, offsets: Any) -> Lines:
    return {(id(node), offset // LINE) for offset in offsets}


def all_nodes(maple: MapleTree[Any]) -> dict[int, MapleNode]:
    nodes = [maple.root] if maple.height else []
    for node in nodes:
        if node.kind != LEAF_64:
            nodes += node.slots
    return {id(node): node for node in nodes}


def walk_lines(maple: MapleTree[Any], key: int) -> Lines:
    touched: Lines = {(0, 0)}
    node = maple.root
    for _ in range(maple.height):
        at = next(slot for slot, last in enumerate(node.pivots) if last >= key)
        offsets = [PARENT, *map(pivot, range(at + 1)), *end_words(node), slot_word(node, at)]
        touched |= lines(node, offsets)
        node = node.slots[at]
    return touched


class Maple:
    """The tree as mm has it: gaps and RCU."""

    name = "maple"

    def __init__(self) -> None:
        self.tree: MapleTree[Any] = MapleTree(track_gaps=True, rcu=True, source=PlainNodes())
        self.locks = {"find": "RCU, or mmap_lock (read)", "next": "RCU, or mmap_lock (read)"}

    @property
    def height(self) -> int:
        return self.tree.height

    def store(self, first: int, last: int, entry: Any) -> None:
        self.tree.store_range(first, last, entry)

    def find(self, key: int) -> Cost:
        cost = Cost()
        cost.touched = walk_lines(self.tree, key)
        return cost

    def next(self, key: int) -> Cost:
        """From a cursor in the leaf: to the next entry."""
        mas: MaState[Any] = MaState(self.tree, key)
        mas.find()
        leaf, begin = mas.node, mas.offset
        mas.next()
        cost = Cost()
        if mas.node is leaf:
            cost.touched = lines(
                leaf,
                [
                    PARENT,
                    *end_words(leaf),
                    *map(pivot, range(begin, mas.offset + 1)),
                    slot_word(leaf, mas.offset),
                ],
            )
        else:
            cost.touched = lines(leaf, [PARENT, *end_words(leaf), pivot(begin)])
            cost.touched |= walk_lines(self.tree, mas.index) - {(0, 0)}
        return cost

    def gap(self, size: int, end: int, *, highest: bool) -> Cost:
        mas: MaState[Any] = MaState(self.tree)
        (mas.empty_area_rev if highest else mas.empty_area)(BASE, end, size)
        cost = Cost()
        cost.touched = walk_lines(self.tree, mas.index)
        node = self.tree.root
        for _ in range(self.tree.height - 1):
            at = next(slot for slot, last in enumerate(node.pivots) if last >= mas.index)
            looked = range(at, len(node.slots)) if highest else range(at + 1)
            cost.touched |= lines(node, map(gap_word, looked)) | lines(node, map(pivot, looked))
            node = node.slots[at]
        return cost

    def change(self, first: int, last: int, entry: Any) -> Cost:
        cost = Cost()
        cost.touched = walk_lines(self.tree, first)
        root = self.tree.root
        nodes = all_nodes(self.tree)
        before = {name: words(node) for name, node in nodes.items()}
        self.tree.store_range(first, last, entry)
        after = all_nodes(self.tree)
        for name, node in after.items():
            now = words(node)
            if name not in before:
                cost.nodes += 1
                cost.dirtied |= lines(node, now)
            else:
                was = before[name]
                cost.dirtied |= lines(
                    node, [at for at in now.keys() | was.keys() if now.get(at) != was.get(at)]
                )
        for name, node in nodes.items():
            if name not in after:
                cost.touched |= lines(node, before[name])
                cost.dirtied |= lines(node, [PARENT])
        if self.tree.root is not root:
            cost.dirtied.add((0, 0))
        cost.touched |= cost.dirtied
        return cost


# -- the red-black tree -----------------------------------------------------------------------------------------------

OFFSETS = {
    "first": 0,
    "last": 8,
    "next": 16,
    "prev": 24,
    "parent": 32,
    "red": 32,
    "right": 40,
    "left": 48,
    "subtree_gap": 56,
}


class CountedNode(RbNode):
    """A node that notes which of its lines are used."""

    __slots__ = ("address",)
    cost = Cost()
    made = 0

    def __init__(self, first: int, last: int, entry: Any) -> None:
        number = CountedNode.made
        CountedNode.made += 1
        address = number // VMAS_A_PAGE * PAGE + number % VMAS_A_PAGE * VMA_SIZE
        object.__setattr__(self, "address", address)
        super().__init__(first, last, entry)

    def __getattribute__(self, name: str) -> Any:
        if name in OFFSETS:
            address = object.__getattribute__(self, "address")
            CountedNode.cost.touched.add((1, (address + OFFSETS[name]) // LINE))
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OFFSETS:
            line = (1, (self.address + OFFSETS[name]) // LINE)
            CountedNode.cost.touched.add(line)
            CountedNode.cost.dirtied.add(line)
        object.__setattr__(self, name, value)


class RedBlack:
    name = "rbtree + list"

    def __init__(self) -> None:
        rbstore.RbNode = CountedNode  # type: ignore[misc]
        self.store_: RbStore[Any] = RbStore()
        self.locks = {"find": "mmap_lock (read)", "next": "mmap_lock (read)"}

    @property
    def height(self) -> int:
        def depth(node: RbNode | None) -> int:
            return 0 if node is None else 1 + max(depth(node.left), depth(node.right))

        return depth(self.store_.tree.root)

    def store(self, first: int, last: int, entry: Any) -> None:
        self.store_.store_range(first, last, entry)

    def _counted(self, call: Callable[[], Any]) -> Cost:
        CountedNode.cost = cost = Cost()
        cost.touched.add((0, 0))
        call()
        CountedNode.cost = Cost()
        return cost

    def find(self, key: int) -> Cost:
        return self._counted(lambda: self.store_.find_node(key))

    def next(self, key: int) -> Cost:
        node = self.store_.find_node(key)
        return self._counted(lambda: node and node.next and node.next.first)

    def gap(self, size: int, end: int, *, highest: bool) -> Cost:
        search = self.store_.highest_fit if highest else self.store_.lowest_fit
        return self._counted(lambda: search(BASE, end, size))

    def change(self, first: int, last: int, entry: Any) -> Cost:
        return self._counted(lambda: self.store_.store_range(first, last, entry))


# -- the table --------------------------------------------------------------------------------------------------------


def measure(structure: Any, count: int) -> list[dict[str, Any]]:
    chance = random.Random(count)
    ranges, at = [], BASE
    for _ in range(count):
        size = chance.randint(4, 64) * PAGE
        ranges.append((at, at + size - 1))
        at += size + (chance.randint(4, 64) * PAGE if chance.random() < 2 / 3 else 0)
    order = ranges.copy()
    chance.shuffle(order)
    for first, last in order:
        structure.store(first, last, (first,))
    height = structure.height
    samples = 200 if count <= 1000 else 60 if count <= 10_000 else 12
    costs: dict[str, list[Cost]] = {}

    def note(operation: str, cost: Cost) -> None:
        costs.setdefault(operation, []).append(cost)

    for _ in range(samples):
        first, last = chance.choice(ranges)
        vma = (first, "again")
        note("find", structure.find(chance.randint(first, last)))
        note("next", structure.next(chance.randint(first, last)))
        note("gap, lowest", structure.gap(4 * PAGE, at, highest=False))
        note("gap, highest", structure.gap(4 * PAGE, at, highest=True))
        note("unmap a whole VMA", structure.change(first, last, None))
        note("map into a gap", structure.change(first, last, vma))
        note("shrink by a page (brk)", structure.change(last - PAGE + 1, last, None))
        note("grow by a page (brk)", structure.change(first, last, vma))
        note("unmap the middle", structure.change(first + PAGE, last - PAGE, None))
        structure.store(first, last, vma)
    return [
        {
            "VMAs": count,
            "structure": structure.name,
            "height": height,
            "operation": operation,
            "lines touched": round(mean(len(cost.touched) for cost in found), 1),
            "lines dirtied": round(mean(len(cost.dirtied) for cost in found), 1),
            "nodes allocated": round(mean(cost.nodes for cost in found), 2),
            "locks": structure.locks.get(
                operation, "mmap_lock (write)" if found[0].dirtied else "mmap_lock (read)"
            ),
        }
        for operation, found in costs.items()
    ]


def as_markdown(rows: list[dict[str, Any]]) -> str:
    head = "| " + " | ".join(rows[0]) + " |\n| " + " | ".join("---" for _ in rows[0]) + " |\n"
    return head + "".join("| " + " | ".join(map(str, row.values())) + " |\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Cache lines of the maple tree and of what it replaced.")
    parser.add_argument("--out", type=Path, default=Path("."), help="where tree_cache.json and .md go")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    options = parser.parse_args()
    rows = []
    for count in options.counts:
        for found in zip(measure(RedBlack(), count), measure(Maple(), count), strict=True):
            rows += found
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tree_cache.json").write_text(json.dumps(rows, indent=1) + "\n")
    (options.out / "tree_cache.md").write_text(as_markdown(rows))
    print(as_markdown(rows), end="")


if __name__ == "__main__":
    main()
