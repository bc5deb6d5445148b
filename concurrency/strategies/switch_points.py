"""The choices that an execution of a bounded DPOR search has come to: who goes on, and data choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sugarbush.concurrency.core import BadSchedule
from sugarbush.concurrency.strategies.trace import Edges


@dataclass(slots=True, eq=False)
class SwitchPoint:
    """A choice of who goes on, what was tried there, and whether another way can matter.

    `current` is the task that ran and can go on, `spent` what the schedule has cost so far, `asleep` the tasks that
    need not be tried, and `put_off` those that were tried before, each with the number of the first event since then
    (`concurrency.strategies.put_off`).
    """

    enabled: tuple[int, ...]
    current: int | None
    free: bool
    spent: int
    asleep: frozenset[int]
    put_off: Mapping[int, int]
    turn: int = -1
    tried: list[int] = field(default_factory=list)
    racy: bool = False
    """Other tasks are to be tried here, too."""
    told: bool = False
    """That it is racy was counted, or reported (`BoundedDPOR._tell`)."""
    edges: Edges | None = None
    """Of the event of this turn; None if it was not made yet."""
    block: SwitchPoint | None = None
    """Where the block of this turn begins: this point, or an earlier one."""
    before: SwitchPoint | None = None
    """If it begins a block: where the block of the same task before that began."""
    joined: SwitchPoint | None = None
    """If the task that has run goes on here all the same, in a new block: where its block before began."""

    def mark(self) -> None:
        """Have other ways tried here and where the block of this turn began: it may have to come first as a whole.

        Also right after the start of a task. It looks as if a switch before the start did as well, at less cost. But a
        start comes before or after whatever may touch anything, and what the others do then may be that.
        """
        self.racy = True
        block = self.block
        while block is not None:
            block.racy = True
            block = block.joined

    @property
    def others(self) -> list[int]:
        """The tasks that can be tried here beside the first one, in the order in which they are."""
        if self.current in self.put_off:
            # What it has made since it goes on is in vain so far, and to preempt it would leave it so.
            return []
        first = self.tried[0]
        return [number for number in self.enabled if number != first and number not in self.asleep]

    def follow(self, way: int, most: int) -> None:
        """Take `way` at once, as all ways before it are tried elsewhere: by other parts of a search."""
        others = self.others
        if way > len(others) or (way and self.forbidden(most)):
            raise BadSchedule(f"the program is not deterministic: a part goes way {way} where there is none")
        self.tried += others[:way]
        self.turn = self.tried[-1]
        # Another way than the first one is taken at a racy point, all of whose ways were given out.
        self.racy = way > 0

    @property
    def way(self) -> int:
        """The number of the way that is taken: 0 is the first one, then those of `others`."""
        return len(self.tried) - 1

    def forbidden(self, most: int) -> bool:
        """Whether another way than the first one costs more than `most` allows."""
        return not self.free and self.spent == most

    def left(self, most: int) -> int:
        """How many ways are to be tried after the one of now, as far as is known."""
        return 0 if not self.told or self.forbidden(most) else len(self.others) - self.way


@dataclass(slots=True)
class ValueChoice:
    """A data choice: `value` is made now, one of `ways`."""

    ways: int
    value: int = 0
    racy: bool = True
    """All values are tried."""
    told: bool = True

    @property
    def way(self) -> int:
        """As of a switch point: the values are the ways."""
        return self.value

    def left(self, most: int) -> int:  # noqa: ARG002
        """How many values are to be tried after the one of now."""
        return self.ways - 1 - self.value
