"""A bound that rises: a search with a bound, under bound 0, then 1, 2 and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from sugarbush.concurrency.core import Sights, Task
from sugarbush.concurrency.strategies.base import Divisible, Part
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.bounded_parts import Mark
from sugarbush.concurrency.strategies.dfs import DepthFirst


class Bounded(Divisible, Protocol):
    """A search with a bound that can be raised."""

    spent: int
    """What the last execution has cost."""


B = TypeVar("B", bound=Bounded)


class Rising(Generic[B]):
    """A bounded search under bound 0, then 1, 2 and so on, up to `most` (None: until a bound cuts nothing).

    So the first witness has the fewest preemptions, or delays. What a smaller bound allows is made again under each
    larger one: `repeated` counts those executions. `completed` is the largest bound within which all was seen. The
    first number of a part is its bound.
    """

    numbers = None
    lease = 1
    root: Part = (0,)

    def __init__(self, make: Callable[[int], B], most: int | None = None) -> None:
        if most is not None:
            # Refuses what is no bound now, not in the middle of the search.
            make(most)
        self._make = make
        self._most = most
        self.repeated = 0
        self._below: int | None = None
        """The bound before that of now."""
        self._goes_on = True
        """Not within one part: which bound comes next is decided where all parts are known (`after`)."""
        self._inner = make(0)
        self.name = f"i{self._inner.name}"

    @property
    def bound(self) -> int | None:
        """The bound of now."""
        return self._inner.bound

    @property
    def completed(self) -> int | None:
        """The largest bound within which all was seen; None if there is none yet."""
        return self.bound if self._goes_on and not self._inner.left else self._below

    @property
    def cut(self) -> int:
        """What the bound of now has cut."""
        return self._inner.cut

    @property
    def left(self) -> bool:
        """Whether there is another execution, under the bound of now or under a larger one."""
        return self._inner.left or self._following is not None

    @property
    def _following(self) -> int | None:
        """The bound to go on with once that of now is done; None if that was the last."""
        return self._next(self._inner.bound or 0, self._inner.cut) if self._goes_on else None

    def _next(self, bound: int, cut: int) -> int | None:
        return bound + 1 if cut and bound != self._most else None

    def begin(self, execution: int) -> None:
        """Go on to the next bound where this one is done."""
        following = self._following
        if not self._inner.left and following is not None:
            self._below = self._inner.bound
            self._inner = self._make(following)
        self._inner.begin(execution)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """Who goes on under the bound of now."""
        return self._inner.choose(runnable, current, step, forced)

    def data(self, n: int, label: str) -> int:
        """The value that is tried under the bound of now."""
        return self._inner.data(n, label)

    def end(self, steps: int, forced: int) -> None:
        """Count the execution."""
        inner = self._inner
        inner.end(steps, forced)
        # What cost less was made under a smaller bound already.
        self.repeated += inner.spent < (inner.bound or 0)

    def enter(self, part: Part) -> None:
        """Search `part` only, all of which is under one bound: its first number."""
        if self._inner.bound != part[0]:
            self._inner = self._make(part[0])
        self._inner.enter(part[1:])
        self._goes_on = False

    def rest(self) -> list[Part]:
        """What is left under the bound of now; each part begins with that bound."""
        return [(self._inner.bound or 0, *part) for part in self._inner.rest()]

    def after(self, part: Part, cut: int) -> Part | None:
        """The root under the next larger bound, if that of `part` cut something and was not the last."""
        following = self._next(part[0], cut)
        return None if following is None else (following,)


class Iterative(Rising[DepthFirst]):
    """`DepthFirst`, or `DelayBounded`, under bound 0, then 1, 2 and so on."""


class RisingDPOR(Rising[BoundedDPOR]):
    """`BoundedDPOR` under bound 0, then 1, 2 and so on."""

    thorough = True

    def look_with(self, sights: Sights) -> None:
        """Count what the checks look at, under the bound of now."""
        self._inner.look_with(sights)

    def made(self, obj: object) -> None:
        """Have a free of `obj` compared with the turns that touch it, under the bound of now."""
        self._inner.made(obj)

    @property
    def traces(self) -> int:
        """How many traces were completed within the bound of now."""
        return self._inner.traces

    @property
    def digest(self) -> str:
        """A hash of the set of the traces that were completed within the bound of now."""
        return self._inner.digest

    @property
    def signature(self) -> int:
        """The number of the trace that was completed last."""
        return self._inner.signature

    @property
    def marked(self) -> tuple[Mark, ...]:
        """What the last execution has marked above this part, whose first number is the bound."""
        return tuple((number + 1, ways) for number, ways in self._inner.marked)

    def opened(self, part: Part, mark: Mark) -> list[Part]:
        """The parts that begin where another `part`, of the same bound, has made a `mark`."""
        number, ways = mark
        return [(part[0], *one) for one in self._inner.opened(part[1:], (number - 1, ways))]
