"""Readers without locks beside one writer, on a maple tree in RCU mode: ranges whose history everybody knows.

Key k*10 to k*10+5 holds k, or what the writer has put there since. A reader may see old or new, and nothing else; what
is set all the time it must see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sugarbush.concurrency import check, join, rcu_barrier, rcu_reader, spawn
from sugarbush.tree import MapleTree, MaState

SPAN = 6
STEP = 10

Store = tuple[int, int, Any]


def build(count: int, *, gaps: bool = True) -> MapleTree[Any]:
    """A tree with `count` ranges."""
    tree: MapleTree[Any] = MapleTree(gaps, rcu=True)
    for number in range(count):
        tree.store_range(STEP * number, STEP * number + SPAN - 1, number)
    return tree


def store_all(tree: MapleTree[Any], stores: Iterable[Store]) -> None:
    """What the writer does."""
    for first, last, entry in stores:
        tree.store_range(first, last, entry)


def load(tree: MapleTree[Any], key: int, allowed: tuple[Any, ...]) -> None:
    """Look one key up: it is one of what it was and what it becomes."""
    found = tree.load(key)
    check(found in allowed, f"key {key} holds one of {allowed}, not {found!r}")


def walk_up(tree: MapleTree[Any], start: int, end: int, always: set[int]) -> None:
    """Go over all entries with one cursor: in order, and without missing one of those that are `always` there."""
    missing = set(always)
    before = -1
    with rcu_reader():
        mas: MaState[Any] = MaState(tree, start)
        while (entry := mas.find(end)) is not None:
            check(mas.last > before, f"{mas.index}..{mas.last} comes after {before}")
            before = mas.last
            missing.discard(entry)
    check(not missing, f"a walk sees {sorted(missing)}")


def beside(tree: MapleTree[Any], stores: Iterable[Store], *readers: Callable[[], None]) -> None:
    """Run the writer and the readers beside each other; then the tree must be well formed."""
    join(
        spawn(store_all, tree, stores, name="writer"),
        *[spawn(reader, name=f"reader{number}") for number, reader in enumerate(readers)],
    )
    tree.validate()
    tree.destroy()
    rcu_barrier()
