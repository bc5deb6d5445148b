"""The calls: `MapleTree` and `MaState`."""

from sugarbush.tree.api.maple import MapleTree
from sugarbush.tree.api.state import MaState

__all__ = [
    "MaState",
    "MapleTree",
]
