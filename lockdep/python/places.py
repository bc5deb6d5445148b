"""Where a thread stands: the locks that it holds, one below the other, as a path that is gone again and again.

A thread that takes a lock where it has taken it before, at the same line and with the same locks held, is not looked
up: the lock remembers the place above that one (`PythonMap.up`), and to take the lock is to step there, to give it
back is to step down. A place says all that the held stack would: the chain, and for the reports the line. It is made at
the third time, by the longer way, and stands for one thread, one lock and one line.
"""

from __future__ import annotations

import weakref
from types import CodeType
from typing import Final

from sugarbush.lockdep.model import Chain, Held, LockClassKey, LockMap, RawFrame

LOT: Final = 255
"""Steps to one place without the longer way. Not more than 256: CPython keeps such numbers, and makes larger ones."""
MOST: Final = 8
"""Lots after which it is asked who calls, for it may be a finaliser now: after one, two, four, and so many from then
on."""


class Place:
    """A lock taken at a line on top of the place `below`, where the stack is `chain`; `left` counts the steps to it.

    A ground has nothing below: what the thread holds there, `depth` locks, is a list. `state` says which interrupts may
    come.
    """

    __slots__ = (
        "_lock_map",
        "_names",
        "below",
        "chain",
        "code",
        "depth",
        "lasti",
        "left",
        "lots",
        "round",
        "state",
    )

    _lock_map: weakref.ref[LockMap]
    _names: tuple[LockClassKey, str, int, int]

    def __init__(self, below: Place | None, chain: Chain, state: int, depth: int) -> None:
        self.below = below
        self.chain = chain
        self.state = state
        self.depth = depth
        self.code: CodeType | None = None
        self.lasti = -1
        self.left = LOT
        self.lots = self.round = 1

    def above(self, lock_map: LockMap, chain: Chain, site: RawFrame) -> Place:
        """The place of a thread that takes a lock here."""
        place = Place(self, chain, self.state, self.depth)
        place.code, place.lasti = site
        # Weak: a lock remembers its last place, and with it all below. What is held by nobody must be gone, since what
        # is gone counts in another way than what is there (`PythonProver._joined`).
        place._lock_map = weakref.ref(lock_map)
        place._names = lock_map.key, lock_map.name, lock_map.token, lock_map.number
        return place

    def renew(self) -> bool:
        """A lot is used up: there is another one, unless it is time to look who calls."""
        if self.lots <= 1:
            return False
        self.lots -= 1
        self.left = LOT
        return True

    def looked_at(self) -> None:
        """No finaliser calls from here."""
        self.left = LOT
        self.lots = self.round = min(2 * self.round, MOST)

    def entry(self) -> Held:
        """What the held stack has for the lock of this place."""
        lock_map = self._lock_map()
        assert self.code is not None
        if lock_map is None:
            # It was dropped while it was held. Nobody can give it back, but that it is held is still to be told.
            key, name, token, number = self._names
            stands = LockMap(key, name)
            stands.token, stands.number = token, number
            return stands, self.chain, self.code, self.lasti, None
        return lock_map, self.chain, self.code, self.lasti, None

    def entries(self) -> list[Held]:
        """What the held stack has on top of the ground's, oldest first."""
        found = []
        at = self
        while at.below is not None:
            found.append(at.entry())
            at = at.below
        return found[::-1]


NOWHERE: Final = Place(None, Chain.root(0), -1, 0)
"""Where a thread stands whose stack is a list: it came there by a longer way."""
NO_PLACE: Final = Place(Place(None, Chain.root(0), -1, 0), Chain.root(0), -1, 0)
"""Above a place at which nobody stands: what a lock remembers that was not taken often."""
