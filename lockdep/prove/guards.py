"""Tells a cycle that can become a deadlock from one that a common lock makes impossible.

The dependency graph forgets what else was held. This search remembers: its states are chains, each a task
that holds a stack and waits for one more lock. A cycle is real when there is a ring of such states, each
waiting for what the next one holds, and all of them can hold their locks at the same time. When there is
none, every way round the cycle needs two tasks that hold one exclusive lock together: the cycle is *guarded*
by it (Goodlock's gate locks). A shared hold guards nothing, nor does a class with more than one instance.
"""

from __future__ import annotations

from typing import Final

from sugarbush.lockdep.model import Chain, LockClass

MAX_TASKS: Final = 8
"""The longest ring that is looked for. A real cycle of more tasks has no ring that is found, and may so be called
guarded only if a guard was met on the way; without one it counts as real."""
BUDGET: Final = 20_000
"""States looked at for one cycle; when they do not suffice, the cycle counts as real.

That way round, since a false alarm is looked at by somebody, and a deadlock that was called guarded is not. The
search is exponential in the size of the ring, so some limit there must be.
"""


class _State:
    """A chain as a waiting task: what it holds, by class, exclusively (True) or not, and what it wants."""

    __slots__ = ("chain", "holds", "want", "want_read")

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.holds: dict[LockClass, bool] = {}
        for entry in chain.held():
            self.holds[entry.lock_class] = self.holds.get(entry.lock_class, False) or entry.read == 0
        self.want = chain.lock_class
        self.want_read = chain.read

    def blocks(self, want: LockClass, want_read: int) -> bool:
        """True when a task in this state can keep another from getting `want`."""
        exclusive = self.holds.get(want)
        return exclusive is not None and (exclusive or want_read != 2)

    def signature(self) -> tuple[object, ...]:
        """Equal for states that differ in nothing that the search looks at."""
        holds = sorted((held.number, exclusive) for held, exclusive in self.holds.items())
        return self.want.number, self.want_read, *holds


class Guards:
    """The waiting states of one validator, and the search for rings among them."""

    __slots__ = ("_holders", "_indexed", "_known", "_left", "_seen", "states")

    def __init__(self) -> None:
        self.states: list[Chain] = []
        """Every chain in which a task may wait, in order; indexed when a cycle first asks."""
        # Nothing is indexed until a cycle closes, which in most programs is never.
        self._indexed = 0
        self._holders: dict[LockClass, list[_State]] = {}
        self._known: set[tuple[object, ...]] = set()
        self._left = 0
        self._seen: dict[int, LockClass] = {}

    def find_ring(self, first: Chain) -> tuple[tuple[Chain, ...] | None, tuple[LockClass, ...]]:
        """A smallest ring of waiting tasks through `first`, and the guards met on the way.

        No ring and some guards: the cycle is guarded. No ring and no guards: the budget ended first.
        """
        self._index()
        self._left = BUDGET
        self._seen = {}
        start = _State(first)
        # By size, so that the smallest ring is found, which is the one that is easiest to follow. What the shorter
        # searches looked at is looked at again; together that is less than the last one alone.
        for size in range(2, MAX_TASKS + 1):
            ring = self._extend((start,), size)
            if ring is not None:
                return tuple(state.chain for state in ring), ()
        guards = tuple(self._seen[number] for number in sorted(self._seen))
        return None, guards if self._left > 0 else ()

    def forget(self, gone: list[LockClass]) -> None:
        """Drops all states that mention a class that went."""
        dead = set(gone)
        self.states = [
            chain
            for chain in self.states
            if chain.lock_class not in dead and not any(entry.lock_class in dead for entry in chain.held())
        ]
        self._indexed = 0
        self._holders = {}
        self._known = set()

    def _index(self) -> None:
        for chain in self.states[self._indexed :]:
            state = _State(chain)
            signature = state.signature()
            if signature not in self._known:
                self._known.add(signature)
                for held in state.holds:
                    self._holders.setdefault(held, []).append(state)
        self._indexed = len(self.states)

    def _extend(self, ring: tuple[_State, ...], size: int) -> tuple[_State, ...] | None:
        last, first = ring[-1], ring[0]
        for state in self._holders.get(last.want, ()):
            if self._left <= 0:
                return None
            self._left -= 1
            if not state.blocks(last.want, last.want_read):
                continue
            # Held by two of the ring at once, and exclusively by one: these two never are where they are at the same
            # time. That holds for all longer rings, too, so this branch is left.
            guard = self._common_guard(ring, state)
            if guard is not None:
                self._seen[guard.number] = guard
                continue
            longer = (*ring, state)
            if first.blocks(state.want, state.want_read):
                return longer
            if len(longer) < size:
                found = self._extend(longer, size)
                if found is not None:
                    return found
        return None

    @staticmethod
    def _common_guard(ring: tuple[_State, ...], state: _State) -> LockClass | None:
        for held, exclusive in state.holds.items():
            if held.excludes:
                for other in ring:
                    theirs = other.holds.get(held)
                    if theirs is not None and (theirs or exclusive):
                        return held
        return None
