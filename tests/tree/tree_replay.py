"""Replays the recorded results of the kernel's tree (tests/data/maple) on ours, and says where they differ."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sugarbush.tree import MAX, ZERO_ENTRY, MapleTree, MaState, TreeError
from sugarbush.tree.core.layout import ARANGE_64, KIND_NAMES, LEAF_64
from sugarbush.tree.core.node import MapleNode

DATA = Path(__file__).parent.parent / "data" / "maple"
ERRNO = {12: "-ENOMEM", 16: "-EBUSY", 17: "-EEXIST", 22: "-EINVAL"}


class CountingNodes:
    """A node source that counts, holds grace periods back, and fails when told."""

    def __init__(self) -> None:
        self.live = 0
        self.taken = 0
        self.given = 0
        self.queued: list[list[MapleNode]] = []
        self.callbacks = 0
        self.reading = False
        self.fail_mode = "off"
        self.fail_count: float = 0
        self.pass_count = 0

    def _fails(self, gfp: int) -> bool:
        if self.fail_mode == "off" or not self.fail_count or (self.fail_mode == "nowait" and gfp & 0x400):
            return False
        if self.pass_count:
            self.pass_count -= 1
            return False
        self.fail_count -= 1
        return True

    def alloc(self, gfp: int) -> MapleNode | None:
        nodes = self.alloc_bulk(gfp, 1)
        return nodes[0] if nodes else None

    def alloc_bulk(self, gfp: int, count: int) -> list[MapleNode]:
        if self._fails(gfp):
            return []
        self.live += count
        self.taken += count
        return [MapleNode() for _ in range(count)]

    def free(self, nodes: list[MapleNode]) -> None:
        self.live -= len(nodes)
        self.given += len(nodes)
        for node in nodes:
            for word in ("slots", "pivots", "gaps", "up"):
                if hasattr(node, word):  # one that was taken and not used has none
                    delattr(node, word)

    def free_rcu(self, nodes: list[MapleNode]) -> None:
        self.queued.append(nodes)
        self.callbacks += 1

    def grace_period(self) -> int:
        done = len(self.queued)
        for nodes in self.queued:
            self.live -= len(nodes)
        self.queued = []
        return done


class Replay:
    """One recorded file: a tree, one persistent cursor, and a counting node source, or none with `plain`."""

    def __init__(self, *, plain: bool = False) -> None:
        self.source = CountingNodes()
        self.plain = plain
        self.tree: MapleTree[Any] = MapleTree(source=None if plain else self.source)
        self.mas: MaState[Any] = MaState(self.tree)

    def run(self, op: list[Any]) -> Any:
        """Do one recorded operation; gives the result in the form of the recording."""
        args = [{"null": None, "zero": ZERO_ENTRY}.get(a, a) if isinstance(a, str) else a for a in op[1:]]
        try:
            result = getattr(self, "do_" + op[0])(*args)
        except TreeError as error:
            result = ERRNO[error.errno]
        if not self.source.reading:
            self.source.grace_period()
        if isinstance(result, list):
            return ["zero" if found is ZERO_ENTRY else found for found in result]
        return "zero" if result is ZERO_ENTRY else result

    def do_init(self, flags: int) -> int:
        source = None if self.plain else self.source
        self.tree = MapleTree(bool(flags & 1), bool(flags & 2), source=source)
        self.mas = MaState(self.tree)
        return 0

    def do_rcu_mode(self, on: int) -> int:
        if on:
            self.tree.set_in_rcu()
        else:
            self.tree.clear_in_rcu()
        return 0

    def do_store_range(self, first: int, last: int, entry: Any) -> int:
        self.tree.store_range(first, last, entry)
        return 0

    def do_store(self, index: int, entry: Any) -> int:
        self.tree.store(index, entry)
        return 0

    def do_insert_range(self, first: int, last: int, entry: Any) -> int:
        self.tree.insert_range(first, last, entry)
        return 0

    def do_insert(self, index: int, entry: Any) -> int:
        self.tree.insert(index, entry)
        return 0

    def do_erase(self, index: int) -> Any:
        return self.tree.erase(index)

    def do_load(self, index: int) -> Any:
        return self.tree.load(index)

    def do_empty(self) -> bool:
        return self.tree.empty

    def do_find(self, index: int, limit: int) -> list[Any]:
        return list(self.tree.find(index, limit))

    def do_find_after(self, index: int, limit: int) -> list[Any]:
        return list(self.tree.find_after(index, limit))

    def do_next(self, index: int, limit: int) -> Any:
        return self.tree.next(index, limit)

    def do_prev(self, index: int, limit: int) -> Any:
        return self.tree.prev(index, limit)

    def do_empty_area(self, low: int, high: int, size: int) -> list[int]:
        mas: MaState[Any] = MaState(self.tree)
        mas.empty_area(low, high, size)
        return [mas.index, mas.last]

    def do_empty_area_rev(self, low: int, high: int, size: int) -> list[int]:
        mas: MaState[Any] = MaState(self.tree)
        mas.empty_area_rev(low, high, size)
        return [mas.index, mas.last]

    def do_alloc_range(self, low: int, high: int, size: int, entry: Any) -> list[int]:
        return [self.tree.alloc_range(entry, size, low, high)]

    def do_alloc_rrange(self, low: int, high: int, size: int, entry: Any) -> list[int]:
        return [self.tree.alloc_rrange(entry, size, low, high)]

    def do_walk(self, index: int) -> list[Any]:
        mas: MaState[Any] = MaState(self.tree, index)
        return [mas.walk(), mas.index, mas.last]

    def do_ranges(self, low: int = 0, high: int = MAX) -> list[Any]:
        return [list(found) for found in self.tree if found[1] >= low and found[0] <= high]

    def do_validate(self) -> str:
        self.tree.validate()
        return "OK"

    def do_destroy(self) -> int:
        self.tree.destroy()
        self.source.grace_period()
        return self.source.live

    def do_height(self) -> int:
        return self.tree.height

    def do_flags(self) -> int:
        return self.tree.flags

    def do_nodes(self) -> int:
        return sum(len(level) for level in self.do_shape())

    def do_shape(self) -> list[list[int]]:
        levels = []
        level = [self.tree.root] if self.tree.height else []
        while level:
            levels.append([len(node.slots) for node in level])
            level = [child for node in level for child in node.slots] if level[0].kind != LEAF_64 else []
        return levels

    def do_struct(self) -> Any:
        return struct(self.tree.root, 0) if self.tree.height else {"root": self.tree.root}

    def do_dump(self, base: str = "") -> str:
        return self.tree.dump(hexadecimal=base == "hex")

    def do_live(self) -> list[int]:
        return [self.source.live, len(self.source.queued)]

    def do_prealloc(self, first: int, last: int, entry: Any) -> int:
        mas: MaState[Any] = MaState(self.tree, first, last)
        asked = mas.preallocate(entry)
        mas.destroy()
        return asked

    def do_store_prealloc(self, first: int, last: int, entry: Any) -> list[int]:
        source = self.source
        live, queued = source.live, source.callbacks
        mas: MaState[Any] = MaState(self.tree, first, last)
        asked = mas.preallocate(entry)
        taken = source.taken
        mas.store_prealloc(entry)
        return [asked, source.live - live, source.callbacks - queued, source.taken - taken]

    def do_store_cost(self, first: int, last: int, entry: Any) -> list[int]:
        source = self.source
        live, queued, taken, given = source.live, source.callbacks, source.taken, source.given
        self.tree.store_range(first, last, entry)
        return [0, source.taken - taken, source.given - given, source.callbacks - queued, source.live - live]

    def do_rcu_lock(self) -> int:
        self.source.reading = True
        return 1

    def do_rcu_unlock(self) -> int:
        self.source.reading = False
        return self.source.grace_period()

    def do_fail(self, mode: str, count: Any = 0) -> int:
        self.source.fail_mode = mode
        self.source.fail_count = float("inf") if count == "always" else count
        return 0

    def _cursor(self, entry: Any) -> list[Any]:
        return [entry, self.mas.index, self.mas.last, self.mas.state.name]

    def do_mas_init(self, index: int) -> list[Any]:
        self.mas = MaState(self.tree, index)
        return self._cursor(None)

    def do_mas_set(self, first: int, last: int | None = None) -> list[Any]:
        self.mas.set_range(first, first if last is None else last)
        return self._cursor(None)

    def do_mas_reset(self) -> list[Any]:
        self.mas.reset()
        return self._cursor(None)

    def do_mas_pause(self) -> list[Any]:
        self.mas.pause()
        return self._cursor(None)

    def do_mas_walk(self) -> list[Any]:
        return self._cursor(self.mas.walk())

    def do_mas_find(self, limit: int) -> list[Any]:
        return self._cursor(self.mas.find(limit))

    def do_mas_find_range(self, limit: int) -> list[Any]:
        return self._cursor(self.mas.find_range(limit))

    def do_mas_find_rev(self, limit: int) -> list[Any]:
        return self._cursor(self.mas.find_rev(limit))

    def do_mas_find_range_rev(self, limit: int) -> list[Any]:
        return self._cursor(self.mas.find_range_rev(limit))

    def do_mas_next(self, limit: int) -> list[Any]:
        return self._cursor(self.mas.next(limit))

    def do_mas_next_range(self, limit: int) -> list[Any]:
        return self._cursor(self.mas.next_range(limit))

    def do_mas_prev(self, limit: int) -> list[Any]:
        return self._cursor(self.mas.prev(limit))

    def do_mas_prev_range(self, limit: int) -> list[Any]:
        return self._cursor(self.mas.prev_range(limit))

    def do_mas_erase(self) -> list[Any]:
        return self._cursor(self.mas.erase())

    def do_mas_store(self, entry: Any) -> list[Any]:
        self.mas.store_gfp(entry)
        return self._cursor(0)

    def do_mas_range(self, first: int, last: int) -> list[Any]:
        """`__mas_set_range`: the cursor stays where it is."""
        self.mas.index, self.mas.last = first, last
        return self._cursor(None)

    def do_mas_expected(self, count: int) -> int:
        self.mas.expected_entries(count)
        return len(self.mas.stash)

    def do_mas_bulk(self, first: int, last: int, entry: Any) -> list[Any]:
        """A store of a bulk load. What it gives is left out, since the kernel gives it for stores in one leaf only."""
        self.mas.index, self.mas.last = first, last
        self.mas.store(entry)
        return self._cursor(None)[1:]

    def do_mas_stash(self) -> list[int]:
        """The nodes that the cursor holds, and how many have been taken in all."""
        return [len(self.mas.stash), self.source.taken]

    def do_mas_destroy(self) -> int:
        self.mas.destroy()
        return self.source.live

    def search_highest(self, op: list[Any]) -> Any:
        """What `alloc_rrange` would take, or `empty_area_rev` find; nothing is stored."""
        try:
            found = self.do_empty_area_rev(*op[1:4])
        except TreeError as error:
            return ERRNO[error.errno]
        return found if op[0] == "empty_area_rev" else found[:1]

    def do_mas_dead(self) -> bool | None:
        return self.mas.node.is_dead if self.mas.is_active else None


def renumbered(dump: str) -> str:
    """A dump with its node addresses numbered in the order of their first mention."""
    names: dict[str, str] = {}
    return re.sub(r"0x1000000(\w{3})(?=\w\w\b)", lambda m: names.setdefault(m[1], f"node{len(names)}+"), dump)


def struct(node: MapleNode, low: int) -> dict[str, Any]:
    """A whole sub-tree in the form of the recording."""
    slots: list[Any] = []
    for slot, (child, last) in enumerate(zip(node.slots, node.pivots, strict=True)):
        if node.kind == LEAF_64:
            slots.append([low, last, child])
        elif node.kind == ARANGE_64:
            assert node.gaps is not None
            slots.append({"gap": node.gaps[slot], "node": struct(child, low)})
        else:
            slots.append(struct(child, low))
        low = last + 1
    first = slots[0][0] if node.kind == LEAF_64 else None
    shape: dict[str, Any] = {
        "type": KIND_NAMES[node.kind],
        "min": first,
        "max": node.pivots[-1],
        "end": len(slots) - 1,
    }
    if node.kind == ARANGE_64:
        shape["gapoff"] = node.gap_offset
        shape["min"] = slots[0]["node"]["min"]
    elif node.kind != LEAF_64:
        shape["min"] = slots[0]["min"]
    shape["slots"] = slots
    return shape


def recorded(path: Path) -> Iterator[tuple[int, list[Any], Any]]:
    """Line number, operation and result, in order."""
    with gzip.open(path, "rt") as lines:
        for number, line in enumerate(lines):
            record = json.loads(line)
            yield number, record["op"], record["result"]
