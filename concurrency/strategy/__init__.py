"""Strategies: one file each, behind the `Strategy` protocol."""

from concurrency.strategy.base import Strategy
from concurrency.strategy.pct import PCT
from concurrency.strategy.random_walk import RandomWalk
from concurrency.strategy.replay import Replay

__all__ = ["PCT", "RandomWalk", "Replay", "Strategy"]
