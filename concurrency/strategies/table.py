"""All strategies by name: how each is made, and what `depth` means to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sugarbush.concurrency.checks import Dependence
from sugarbush.concurrency.core import ConcurrencyError
from sugarbush.concurrency.strategies.base import Strategy
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.check import Check
from sugarbush.concurrency.strategies.dfs import DelayBounded, DepthFirst
from sugarbush.concurrency.strategies.dpor import DPOR
from sugarbush.concurrency.strategies.feedback import Feedback
from sugarbush.concurrency.strategies.pct import DEFAULT_DEPTH, PCT
from sugarbush.concurrency.strategies.portfolio import Portfolio
from sugarbush.concurrency.strategies.pos import POS
from sugarbush.concurrency.strategies.random_walk import RandomWalk
from sugarbush.concurrency.strategies.rising import Iterative, RisingDPOR
from sugarbush.concurrency.strategies.sleep import SleepSets
from sugarbush.concurrency.strategies.surw import SURW
from sugarbush.lockdep.outside import shown

DEFAULT_STRATEGY = "pct"


@dataclass(frozen=True, slots=True)
class Depth:
    """What `depth` counts, one of it; the least that makes sense, and what None stands for.

    >>> Depth("delay").units, Depth("operation of a turn").units
    ('delays', 'operations of a turn')
    """

    unit: str
    least: int = 0
    default: int | None = None
    most: int = 1000
    """PCT draws so many points in each execution, and no bug that was ever measured needs ten."""

    @property
    def units(self) -> str:
        """Several of it: the first word of `unit` is what is counted."""
        what, _, of = self.unit.partition(" ")
        return f"{what}s {of}".rstrip()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a strategy is made from; `faults`: allocations may fail; `weak`: memory is."""

    seed: int
    depth: int | None
    faults: bool
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One strategy; `depth` is None if it takes none, for the reason `why_not`."""

    make: Callable[[Wanted], Strategy]
    depth: Depth | None = None
    why_not: str = "it draws among all schedules"
    complete: bool = True
    """Every schedule can come of it, if not soon. The tests hold it to that: it has to find every known bug. One that
    takes turns of fixed lengths, say, never makes some schedules, and says False: its silence is worth less."""


_ORDERINGS = Depth("ordering", 1, DEFAULT_DEPTH)
_PREEMPTIONS = Depth("preemption")
_DELAYS = Depth("delay")


def _portfolio(wanted: Wanted) -> Strategy:
    return Portfolio([PCT(wanted.seed, wanted.depth or DEFAULT_DEPTH), POS(wanted.seed), SURW(wanted.seed)])


def _dpor(wanted: Wanted) -> Strategy:
    if wanted.depth is not None:
        return _bounded_dpor(wanted.depth, wanted)
    return DPOR(Dependence(faults=wanted.faults, weak=wanted.weak))


def _sleep(wanted: Wanted) -> SleepSets:
    return SleepSets(_told_apart(wanted))


def _bounded_dpor(bound: int, wanted: Wanted) -> BoundedDPOR:
    return BoundedDPOR(bound, _told_apart(wanted))


def _told_apart(wanted: Wanted) -> Dependence:
    """The relation of a search that makes no effects on copies: callbacks of RCU are told apart where they can be."""
    return Dependence(faults=wanted.faults, weak=wanted.weak, callbacks=not wanted.weak)


TABLE: dict[str, Entry] = {
    "random": Entry(lambda wanted: RandomWalk(wanted.seed)),
    "pct": Entry(lambda wanted: PCT(wanted.seed, wanted.depth or DEFAULT_DEPTH), _ORDERINGS),
    "pos": Entry(lambda wanted: POS(wanted.seed)),
    "surw": Entry(lambda wanted: SURW(wanted.seed)),
    "feedback": Entry(lambda wanted: Feedback(wanted.seed)),
    "portfolio": Entry(_portfolio, _ORDERINGS),
    "dfs": Entry(lambda wanted: DepthFirst(wanted.depth), _PREEMPTIONS),
    "delay": Entry(lambda wanted: DelayBounded(wanted.depth), _DELAYS),
    "idfs": Entry(lambda wanted: Iterative(DepthFirst, wanted.depth), _PREEMPTIONS),
    "idelay": Entry(lambda wanted: Iterative(DelayBounded, wanted.depth), _DELAYS),
    "dpor": Entry(_dpor, _PREEMPTIONS),
    "idpor": Entry(
        lambda wanted: RisingDPOR(lambda bound: _bounded_dpor(bound, wanted), wanted.depth), _PREEMPTIONS
    ),
    "sleep": Entry(_sleep, why_not="it makes one execution of each trace, whatever its switches cost"),
    # Over a strategy that does not learn: both executions of a schedule have to be chosen alike.
    "check": Entry(lambda wanted: Check(RandomWalk(wanted.seed))),
}

STRATEGIES = tuple(TABLE)


def unit_of(name: str) -> str:
    """What the bound of this strategy counts."""
    depth = _entry(name).depth
    return "preemption" if depth is None else depth.unit


def checked_depth(name: str, depth: int | None) -> int | None:
    """The depth for a strategy of this name, or what it takes if that is None.

    Raises `ConcurrencyError` if there is no such strategy, or if it cannot have this depth.
    """
    means = _entry(name).depth
    if means is None:
        if depth is not None:
            raise ConcurrencyError(f"{name} has no depth: {_entry(name).why_not}")
        return None
    if depth is None:
        return means.default
    if type(depth) is not int:
        raise ConcurrencyError(f"the depth of {name} counts {means.units}: a whole number, not {depth!r}")
    if depth < means.least:
        raise ConcurrencyError(
            f"the depth of {name} counts {means.units}: at least {means.least}, not {shown(depth)}"
        )
    if depth > means.most:
        raise ConcurrencyError(
            f"the depth of {name} counts {means.units}: at most {means.most}, not {shown(depth)}"
        )
    return depth


def depth_help() -> str:
    r"""What ``--depth`` means to each strategy, in one line: written from the table, so that a new one stands there.

    >>> print(*depth_help().split("; "), sep="\n")  # doctest: +ELLIPSIS
    orderings (4 if not given): pct, portfolio
    preemptions: dfs, ...
    """
    meant: dict[str, list[str]] = {}
    for name, entry in TABLE.items():
        if entry.depth is not None:
            default = "" if entry.depth.default is None else f" ({entry.depth.default} if not given)"
            meant.setdefault(entry.depth.units + default, []).append(name)
    return "; ".join(f"{units}: {', '.join(names)}" for units, names in meant.items())


def make_strategy(
    name: str, seed: int, depth: int | None = None, *, faults: bool = False, weak: bool = False
) -> Strategy:
    """The strategy of this name; `faults` says that allocations may fail, `weak` that memory is.

    Raises `ConcurrencyError` if there is none, or if it cannot have this depth.
    """
    return _entry(name).make(Wanted(seed, checked_depth(name, depth), faults, weak))


def _entry(name: str) -> Entry:
    entry = TABLE.get(name) if isinstance(name, str) else None
    if entry is None:
        raise ConcurrencyError(f"no strategy is called {shown(name)}: there are {', '.join(STRATEGIES)}")
    return entry
