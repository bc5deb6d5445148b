"""How a bounded DPOR search is divided, so that several processes share it: parts, and what they tell each other.

What is made below a turn depends on the turns before it alone: who sleeps goes by what a switch has cost, never by what
was tried beside it (`concurrency.strategies.bounded`, rule 4). The one thing that leaves a subtree are its marks: an
event below may make a point above racy. And then *all* ways of that point are tried, whoever asked for them, and
however often. So

- a part is a row of ways, one for each point: 0 is the first way (rule 1), then the other awake tasks by number, or
  the values of a data choice. Parts in the order of their rows are in the order of one depth first search;
- a part goes back only as far as its own points. Of the points before them, which it shares with other parts, it
  reports those that it has marked, and whoever gave it out opens their other ways, once.

So it does not matter when a search is divided, or where: the executions are those of one process, each made once, and
what each depends on comes before it in the order. Whoever counts them in that order has the first failure of one
process, too.

Behind the row of its next execution a part has -1, how many points are shared, and which points were racy when it was
given out, as numbers: what is known is not told again.

Example. ``x = 1; y = 1`` beside ``y = 2`` (see `concurrency.strategies.bounded`) within bound 0: after the first
execution one way is left, at the first point, where task 0 has just ended and p went on. No point is shared:

>>> from sugarbush.concurrency import spawn
>>> from sugarbush.concurrency.lowlevel import Access, Operation, Simulated, step
>>> from sugarbush.concurrency.strategies.bounded import BoundedDPOR
>>> write = Operation("write", Access.WRITE_ONCE, local=True)
>>> def program():
...     spawn(lambda: (step(write, "x"), step(write, "y")), name="p")
...     spawn(step, write, "y", name="q")
>>> search = BoundedDPOR(0)
>>> _ = Simulated(search).run(program)
>>> search.rest()
[(1, -1, 0, 0)]

Another process makes it. The writes to y meet there, too; but that the first point is racy is known:

>>> other = BoundedDPOR(0)
>>> other.enter((1, -1, 0, 0))
>>> _ = Simulated(other).run(program)
>>> other.rest(), other.marked, other.left
([], (), False)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from sugarbush.concurrency.core import NotAReport
from sugarbush.concurrency.strategies.base import Part
from sugarbush.concurrency.strategies.switch_points import SwitchPoint, ValueChoice

Mark = tuple[int, int]
"""Of a part: the number of a shared point that is racy, and how many other ways are to be tried there. 0 ways: there
are some, but the bound forbids them.
"""


@dataclass(frozen=True, slots=True)
class Entered:
    """A part as it is read: the `ways` of its next execution, of whose points the first `shared` ones belong to others,
    too, and which of its points are known to be `racy`.
    """

    ways: tuple[int, ...]
    shared: int
    racy: frozenset[int] = frozenset()

    @classmethod
    def of(cls, part: Part) -> Entered:
        """Read a part; raises `NotAReport` for what is none: it may have come from another machine."""
        if not part:
            return cls((), 0)
        end = part.index(-1) if -1 in part else 0
        ways, rest = part[:end], part[end + 1 :]
        if (
            min(ways, default=-1) < 0
            or not rest
            or not 0 <= rest[0] <= end
            or not all(0 <= number < end for number in rest[1:])
        ):
            raise NotAReport(f"{str(part)[:60]} is no part of a search within a bound")
        return cls(ways, rest[0], frozenset(rest[1:]))

    @property
    def part(self) -> Part:
        """The part as data."""
        return (*self.ways, -1, self.shared, *sorted(self.racy)) if self.ways else ()

    def opened(self, mark: Mark) -> list[Part]:
        """The parts that begin at the other ways of a point that this part has marked.

        >>> Entered((0, 2, 0, 1), 4, frozenset({1, 3})).opened((2, 2))
        [(0, 2, 1, -1, 3, 1), (0, 2, 2, -1, 3, 1)]
        """
        number, many = mark
        return _siblings(self.ways[:number], 0, many, [one for one in self.racy if one < number])


def divided(ways: list[int], left: list[int], racy: list[int], shared: int) -> list[Part]:
    """What is left of a part, in order: the next execution with all that comes behind it below the first own point that
    has a way `left`, and each of the ways there.

    The lists say of each point the way that is taken now, and how many come after it that are to be tried; `racy` has
    the numbers of the points that are. The first `shared` points belong to others.

    Only one point is given away, the first one: what is below is as large as it gets, and the rest stays with whoever
    knows it.

    >>> divided([0, 0, 1, 0], [0, 2, 0, 1], [1, 2, 3], 0)
    [(0, 0, 1, 0, -1, 2, 1, 2, 3), (0, 1, -1, 2), (0, 2, -1, 2)]
    """
    gives = next((number for number in range(shared, len(ways)) if left[number]), None)
    if gives is None:
        return [Entered(tuple(ways), shared, frozenset(racy)).part]
    own = Entered(tuple(ways), gives + 1, frozenset(racy)).part
    known = [number for number in racy if number < gives]
    return [own, *_siblings(tuple(ways[:gives]), ways[gives], left[gives], known)]


def _siblings(before: tuple[int, ...], way: int, many: int, racy: Iterable[int]) -> list[Part]:
    """So many ways behind `way` at the point behind the ways `before`."""
    known = frozenset(racy)
    shared = len(before) + 1
    return [Entered((*before, other), shared, known).part for other in range(way + 1, way + 1 + many)]


def tell(path: Iterable[SwitchPoint | ValueChoice], shared: int, most: int) -> tuple[tuple[Mark, ...], int]:
    """Of the points that have become racy and were not told of: the marks of the first `shared` ones, which belong to
    others, and at how many of one's own the bound forbids the other ways.
    """
    marked, cut = [], 0
    for number, point in enumerate(path):
        if point.told or not point.racy:
            continue
        # When a point becomes racy, not when the search leaves it: so one that ends at a failure has counted the same,
        # however it was divided.
        point.told = True
        assert isinstance(point, SwitchPoint)
        others, forbidden = len(point.others), point.forbidden(most)
        if not others:
            continue
        if number < shared:
            # Whoever counts in the order of the search knows whether an earlier execution has told.
            marked.append((number, 0 if forbidden else others))
        else:
            cut += forbidden
    return tuple(marked), cut


class TraceSet(set[int]):
    """The signatures of the traces that were completed."""

    def __init__(self) -> None:
        super().__init__()
        self._sum = 0

    def note(self, signature: int) -> None:
        """A trace was completed, perhaps once more."""
        # Two traces of one signature would be counted as one; the search itself does not go by signatures.
        if signature not in self:
            self.add(signature)
            # A sum, so that it does not matter in which order they came, or who made them.
            self._sum += int.from_bytes(sha256(str(signature).encode()).digest())

    @property
    def digest(self) -> str:
        """A hash of the set; the same on every machine."""
        return f"{self._sum % (1 << 256):064x}"
