"""What a task that spins has seen since it looked last."""

from __future__ import annotations

from sugarbush.concurrency.core.frames import OwnState


class Look:
    """What a task that spins has done since its last `cpu_relax`, and what it was like then."""

    __slots__ = ("begun", "changed", "count", "held", "others", "own", "sees", "sure", "taken")

    def __init__(self, taken: dict[int, tuple[object, int]]) -> None:
        self.own = 0
        """How many changes are its own, of all that were counted."""
        self.changed = False
        """It has changed something since its last `cpu_relax`, or has made a data choice."""
        self.held: dict[int, int] = {}
        """By object, by its id, how much more it holds than then."""
        self.begun: dict[OwnState, int] = {}
        """What it was like at each `cpu_relax` since it was last changed, and how much others had done by then."""
        self.others = -1
        """How much others had done when it looked in vain last."""
        self.count = 0
        """So often in a row it has gone on looking, although others had done nothing."""
        self.sure = False
        """All of its looks are the same."""
        self.sees: dict[int, tuple[object, int]] = {}
        """The objects that it looks at, by their ids, each with how often tasks that spin had taken it by then."""
        self.taken = taken

    def at(self, obj: object) -> None:
        """It looks at `obj`."""
        number = id(obj)
        if number not in self.sees:
            self.sees[number] = (obj, self.taken[number][1] if number in self.taken else 0)

    def is_stale(self) -> bool:
        """Something that it looked at was taken, or given back, by another task that spins."""
        taken = self.taken
        return any(number in taken and taken[number][1] != count for number, (_, count) in self.sees.items())
