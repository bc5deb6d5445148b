"""The tree as text, in the format of the kernel's mt_dump(), v6.6.

Python objects have no addresses worth showing: the tree, its nodes and its entries get some, in the order in
which they appear, with the kernel's type and slot bits in them. So two equal trees print the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import ARANGE_64, LEAF_64, MAX, NODE_SIZE, SLOTS, InternalEntry, MapleNode

if TYPE_CHECKING:
    from sugarbush.tree.core import TreeBody

# Round numbers far from each other, so that a reader of a dump sees at once which is what. Nodes
# lie 256 bytes apart since the kernel has type and slot in the low eight bits of their addresses.
TREE_ADDRESS = 0x100000000000
FIRST_NODE = 0x100000001000
FIRST_OBJECT = 0x200000000000
OBJECT_SIZE = 64
LARGEST_VALUE = 2**63 - 1


def dump(tree: TreeBody, *, hexadecimal: bool = False) -> str:
    """All nodes and entries, one a line, indented by depth; numbers are decimal unless `hexadecimal`."""
    return "\n".join(_Dump(hexadecimal).tree(tree)) + "\n"


class _Dump:
    def __init__(self, hexadecimal: bool) -> None:
        self.hexadecimal = hexadecimal
        # By id(), which is asked for and never shown or ordered: the numbers are given out in order of appearance.
        self.nodes: dict[int, int] = {}
        self.objects: dict[int, int] = {}

    def tree(self, tree: TreeBody) -> Iterator[str]:
        root = tree.root
        word = self._child(root) | 2 if isinstance(root, MapleNode) else self._word(root)
        yield (
            f"maple_tree(0x{TREE_ADDRESS:x}) flags {tree.flags:X}, height {tree.height} root {_pointer(word)}"
        )
        if isinstance(root, MapleNode):
            yield from self._node(root, 0, MAX, 0)
        elif root is not None:
            yield self._entry(root, 0, 0, 0)
        else:
            yield "(nil)"

    def _node(self, node: MapleNode, low: int, high: int, depth: int) -> Iterator[str]:
        parent, slot = node.up
        up = self._address(parent) | slot << 3 | 6 if isinstance(parent, MapleNode) else TREE_ADDRESS | 1
        yield (
            f"{self._range(low, high, depth)}node 0x{self._address(node):x} depth {depth} type {node.kind} "
            f"parent 0x{up:x} contents: {self._contents(node)}"
        )
        for child, last in zip(node.slots, node.pivots, strict=True):
            if node.kind == LEAF_64:
                yield self._entry(child, low, last, depth + 1)
            else:
                yield from self._node(child, low, last, depth + 1)
            low = last + 1

    def _contents(self, node: MapleNode) -> str:
        # What lies beyond the end of a node is printed, too, as zeroes: the format has one column for each slot. In a
        # leaf or a range node that is not full the end itself stands in the last column (the metadata, over slot 15).
        limit = SLOTS[node.kind]
        end = len(node.slots) - 1
        inner = node.kind != LEAF_64
        words = [self._child(slot) if inner else self._word(slot) for slot in node.slots]
        words += [0] * (limit - len(words))
        pivots = node.pivots[: limit - 1] + [0] * (limit - 1 - len(node.pivots))
        pairs = " ".join(
            f"{_pointer(word)} {pivot:{'X' if self.hexadecimal else 'd'}}"
            for word, pivot in zip(words, pivots, strict=False)
        )
        if node.kind == ARANGE_64 and node.gaps is not None:
            gaps = node.gaps + [0] * (limit - len(node.gaps))
            shown = " ".join(f"{gap:{'x' if self.hexadecimal else 'd'}}" for gap in gaps)
            return f"{shown} | {end:02X} {node.gap_offset:02X}| {pairs} {_pointer(words[-1])}"
        return f"{pairs} {_pointer(words[-1] if end == limit - 1 else end)}"

    def _entry(self, entry: Any, low: int, high: int, depth: int) -> str:
        word = self._word(entry)
        if entry is None:
            text = "(nil)"
        elif _is_value(entry):
            text = f"value {entry} (0x{entry:x}) [0x{word:x}]"
        elif isinstance(entry, InternalEntry):
            text = f"zero ({entry.number})" if entry.number == 257 else f"UNKNOWN ENTRY (0x{word:x})"
        else:
            text = _pointer(word)
        return self._range(low, high, depth) + text

    def _range(self, low: int, high: int, depth: int) -> str:
        form = "x" if self.hexadecimal else "d"
        return "  " * depth + (f"{low:{form}}: " if low == high else f"{low:{form}}-{high:{form}}: ")

    def _address(self, node: MapleNode) -> int:
        return self.nodes.setdefault(id(node), FIRST_NODE + NODE_SIZE * len(self.nodes))

    def _child(self, node: MapleNode) -> int:
        return self._address(node) | node.kind << 3 | 4

    def _word(self, entry: Any) -> int:
        if entry is None:
            return 0
        if _is_value(entry):
            return int(entry) << 1 | 1
        if isinstance(entry, InternalEntry):
            return entry.word
        return self.objects.setdefault(id(entry), FIRST_OBJECT + OBJECT_SIZE * len(self.objects))


def _is_value(entry: Any) -> bool:
    return isinstance(entry, int) and 0 <= entry <= LARGEST_VALUE


def _pointer(word: int) -> str:
    return f"0x{word:x}" if word else "(nil)"
