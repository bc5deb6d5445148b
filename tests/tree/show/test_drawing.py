"""The picture of a tree is well-formed SVG that shows every node and entry."""

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from sugarbush.tree import ZERO_ENTRY, MapleTree, draw

SVG = "{http://www.w3.org/2000/svg}"


def parts(tree: MapleTree[Any], tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(draw(tree)).iter(SVG + tag))


def test_every_slot_is_a_box_and_every_child_hangs_on_a_line() -> None:
    tree: MapleTree[Any] = MapleTree(track_gaps=True)
    for key in range(300):
        tree.store_range(10 * key, 10 * key + 5, f"<entry & {key}>")
    nodes = [tree.root]
    for node in nodes:
        nodes += [child for child in node.slots if tree.height and node.kind != 1]
    assert len(parts(tree, "rect")) == sum(len(node.slots) for node in nodes)
    assert len(parts(tree, "path")) == len(nodes) - 1
    titles = [title.text for title in parts(tree, "title")]
    assert all(f"'<entry & {key}>'" in titles for key in range(300))


def test_boxes_do_not_overlap() -> None:
    tree: MapleTree[Any] = MapleTree()
    for key in range(500):
        tree.store(key, key)
    rows: dict[str, list[float]] = {}
    for box in parts(tree, "rect"):
        rows.setdefault(box.attrib["y"], []).append(float(box.attrib["x"]))
    assert len(rows) == tree.height
    for row in rows.values():
        row.sort()
        assert all(after - before >= 74 for before, after in pairwise(row))


def test_trees_without_nodes_can_be_drawn() -> None:
    tree: MapleTree[Any] = MapleTree()
    assert len(parts(tree, "rect")) == 1
    tree.store(0, "x")
    assert parts(tree, "title")[0].text == "'x'"
    tree.store(5, ZERO_ENTRY)
    assert len(parts(tree, "rect")) == 4
