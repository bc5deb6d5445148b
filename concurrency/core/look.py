"""What the runtime notes about a task that spins, from one `cpu_relax` to the next (`runtimes.liveness` uses it)."""

from __future__ import annotations

from sugarbush.concurrency.core.frames import OwnState


class Look:
    """What a task that spins has done since its last `cpu_relax`, and what its own state was then."""

    __slots__ = ("begun", "changed", "count", "held", "others", "own", "sees", "sure", "taken")

    def __init__(self, taken: dict[int, tuple[object, int]]) -> None:
        self.own = 0
        """How many of the changes that `Liveness._changes` counts this task has made itself."""
        self.changed = False
        """It has changed something since its last `cpu_relax`, or has made a data choice."""
        self.held: dict[int, int] = {}
        """For each object, by its id, how many more holds of it the task has than at its last `cpu_relax`."""
        self.begun: dict[OwnState, int] = {}
        """Its own state at each `cpu_relax` since it last changed anything, with how many changes others had made."""
        self.others = -1
        """How many changes others had made when it last looked in vain."""
        self.count = 0
        """How many times in a row it has looked again although others had changed nothing since."""
        self.sure = False
        """Its own state has come round: all further looks would be the same until another task changes something."""
        # With the object beside its id, so that the object stays alive and no other one gets its id.
        self.sees: dict[int, tuple[object, int]] = {}
        """The objects that it looks at, by their ids, each with how often tasks that spin had taken it by then."""
        self.taken = taken
        """`Liveness._taken`: how often tasks that spin have taken each object, or given it back."""

    def at(self, obj: object) -> None:
        """Note that the task looks at `obj`."""
        number = id(obj)
        if number not in self.sees:
            self.sees[number] = (obj, self.taken[number][1] if number in self.taken else 0)

    def is_stale(self) -> bool:
        """Whether something that it looked at was taken, or given back, by a task that spins since then."""
        # To take a lock and give it back counts as no change, or two tasks that do so in turn would keep each other
        # looking for ever. But to a third one that looks at that very lock (a trylock, is_locked) it is one.
        taken = self.taken
        return any(number in taken and taken[number][1] != count for number, (_, count) in self.sees.items())
