"""Strategies: one file each, behind the `Strategy` protocol."""

from concurrency.strategy.base import Pruned, Search, Strategy, Thorough
from concurrency.strategy.dfs import DepthFirst
from concurrency.strategy.dpor import DPOR
from concurrency.strategy.pct import PCT
from concurrency.strategy.pos import POS
from concurrency.strategy.random_walk import RandomWalk
from concurrency.strategy.replay import Replay
from concurrency.strategy.surw import SURW

__all__ = [
    "DPOR",
    "PCT",
    "POS",
    "SURW",
    "DepthFirst",
    "Pruned",
    "RandomWalk",
    "Replay",
    "Search",
    "Strategy",
    "Thorough",
]
