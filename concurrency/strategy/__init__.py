"""Strategies: one file each, behind the `Strategy` protocol."""

from concurrency.strategy.base import Divisible, Learning, Pruned, Search, Strategy, Thorough
from concurrency.strategy.dfs import DelayBounded, DepthFirst, Iterative
from concurrency.strategy.dpor import DPOR
from concurrency.strategy.pct import PCT
from concurrency.strategy.portfolio import Portfolio
from concurrency.strategy.pos import POS
from concurrency.strategy.random_walk import RandomWalk
from concurrency.strategy.replay import Replay
from concurrency.strategy.surw import SURW

__all__ = [
    "DPOR",
    "PCT",
    "POS",
    "SURW",
    "DelayBounded",
    "DepthFirst",
    "Divisible",
    "Iterative",
    "Learning",
    "Portfolio",
    "Pruned",
    "RandomWalk",
    "Replay",
    "Search",
    "Strategy",
    "Thorough",
]
