"""Strategies: one file each, behind the `Strategy` protocol."""

from sugarbush.concurrency.strategies.base import (
    NUMBER_BITS,
    Divisible,
    Learning,
    Listening,
    Marking,
    Part,
    Pruned,
    Reducing,
    Search,
    Seeing,
    Strategy,
    Thorough,
    Watchful,
    can_be_preempted,
    end_of_round,
    fits,
    seeded,
    starts_round,
)
from sugarbush.concurrency.strategies.bounded_parts import TraceSet
from sugarbush.concurrency.strategies.dfs import DelayBounded, DepthFirst
from sugarbush.concurrency.strategies.dpor import DPOR
from sugarbush.concurrency.strategies.events import meet
from sugarbush.concurrency.strategies.guided import Guided, Noted, Plan, Stretch
from sugarbush.concurrency.strategies.pct import DEFAULT_DEPTH, PCT
from sugarbush.concurrency.strategies.portfolio import Portfolio
from sugarbush.concurrency.strategies.pos import POS
from sugarbush.concurrency.strategies.random_walk import RandomWalk
from sugarbush.concurrency.strategies.readiness import copied
from sugarbush.concurrency.strategies.replay import Following, Replay
from sugarbush.concurrency.strategies.rising import Iterative, Rising
from sugarbush.concurrency.strategies.surw import SURW
from sugarbush.concurrency.strategies.table import (
    DEFAULT_STRATEGY,
    STRATEGIES,
    checked_depth,
    depth_help,
    make_strategy,
    unit_of,
)

__all__ = [
    "DEFAULT_DEPTH",
    "DEFAULT_STRATEGY",
    "DPOR",
    "NUMBER_BITS",
    "PCT",
    "POS",
    "STRATEGIES",
    "SURW",
    "DelayBounded",
    "DepthFirst",
    "Divisible",
    "Following",
    "Guided",
    "Iterative",
    "Learning",
    "Listening",
    "Marking",
    "Noted",
    "Part",
    "Plan",
    "Portfolio",
    "Pruned",
    "RandomWalk",
    "Reducing",
    "Replay",
    "Rising",
    "Search",
    "Seeing",
    "Strategy",
    "Stretch",
    "Thorough",
    "TraceSet",
    "Watchful",
    "can_be_preempted",
    "checked_depth",
    "copied",
    "depth_help",
    "end_of_round",
    "fits",
    "make_strategy",
    "meet",
    "seeded",
    "starts_round",
    "unit_of",
]
