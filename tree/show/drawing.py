"""The tree as a picture: an SVG with one row of nodes for each level."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import KIND_NAMES, LEAF_64, MAX, MapleNode

if TYPE_CHECKING:
    from sugarbush.tree.core import TreeBody

# Pixels. A cell is as wide as eleven characters of the font below; longer texts are cut, and whole in the title.
CELL = 74
ROW = 46
SPACE = 14
LEVEL = 120
STYLE = (
    "text{font:10px monospace;text-anchor:middle}.k{text-anchor:start;fill:#666}"
    "rect{fill:#fff;stroke:#333}.u{fill:#eee}.e{fill:#dff0d8}.n{fill:#d9e6f5}path{fill:none;stroke:#888}"
)


def draw(tree: TreeBody, *, hexadecimal: bool = True, entry: Callable[[Any], str] = repr) -> str:
    """An SVG document: nodes as rows of slots, each with its last key and its `entry`, as text, or its largest gap.

    Unset ranges are grey. Needs the lock, as `dump` does.
    """
    return _Drawing(hexadecimal, entry).document(tree)


class _Drawing:
    def __init__(self, hexadecimal: bool, entry: Callable[[Any], str]) -> None:
        self.form = "x" if hexadecimal else "d"
        self.entry = entry
        self.parts: list[str] = []
        self.right = 0

    def document(self, tree: TreeBody) -> str:
        root = tree.root
        if isinstance(root, MapleNode):
            self._node(root, 0, 0)
        else:
            self._cell(0, 0, "n" if root is None else "e", "0", "empty" if root is None else self.entry(root))
            self.right = CELL
        height = max(tree.height, 1) * LEVEL
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -20 {self.right + 20} {height}">'
        return "\n".join([head, f"<style>{STYLE}</style>", *self.parts, "</svg>"]) + "\n"

    def _node(self, node: MapleNode, low: int, depth: int) -> float:
        """Draw what hangs below a node, then the node above the middle of it; gives where that is."""
        width = CELL * len(node.slots)
        middles = []
        if node.kind == LEAF_64:
            left = float(self.right)
            self.right += width + SPACE
        else:
            below = low
            for child, last in zip(node.slots, node.pivots, strict=True):
                middles.append(self._node(child, below, depth + 1))
                below = last + 1
            # Above the middle of its children: leaves take their place from left to right, all else stands above them.
            left = max((middles[0] + middles[-1] - width) / 2, 0)
            self.right = max(self.right, int(left + width) + SPACE)
        top = depth * LEVEL
        label = f"{KIND_NAMES[node.kind]} from {low:{self.form}}"
        self.parts.append(f'<text class="k" x="{left}" y="{top - 5}">{label}</text>')
        for slot, (entry, last) in enumerate(zip(node.slots, node.pivots, strict=True)):
            at = left + slot * CELL
            if node.kind != LEAF_64:
                gap = "" if node.gaps is None else f"gap {node.gaps[slot]:{self.form}}"
                self._cell(at, top, "n", self._key(last), gap)
                self._line(at + CELL / 2, top + ROW, middles[slot], top + LEVEL - 16)
            elif entry is None:
                self._cell(at, top, "u", self._key(last), "")
            else:
                self._cell(at, top, "e", self._key(last), self.entry(entry))
        return left + width / 2

    def _line(self, x: float, y: float, to_x: float, to_y: float) -> None:
        bend = (y + to_y) / 2
        self.parts.append(f'<path d="M{x} {y}C{x} {bend} {to_x} {bend} {to_x} {to_y}"/>')

    def _cell(self, x: float, y: float, kind: str, key: str, text: str) -> None:
        shown = text if len(text) <= 11 else text[:10] + "\u2026"
        middle = x + CELL / 2
        self.parts += [
            f'<rect class="{kind}" x="{x}" y="{y}" width="{CELL}" height="{ROW}">',
            f"<title>{escape(text)}</title></rect>",
            f'<text x="{middle}" y="{y + 18}">{escape(shown)}</text>',
            f'<text x="{middle}" y="{y + 36}">\u2026{key}</text>',
        ]

    def _key(self, key: int) -> str:
        return "max" if key == MAX else f"{key:{self.form}}"
