"""The dependency graph: which class was wanted while which was held, and the searches over it.

An edge prev -> next carries a set of kinds: was prev held exclusively (E) or shared (S), does next wait as a
recursive reader (R) or not (N). A recursive reader is not blocked by a reader, so a path may not continue
from an edge that only has xR kinds over one that only has Sx kinds; a path without such a place is *strong*,
and a deadlock is possible when there is a strong closed path (lockdep-design.rst, "Recursive read locks").

The searches walk states (class, was the last edge only xR), not classes: a class that was reached weakly
first may be reached strongly later, and that path counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from lockdep.classes import LockClass
from lockdep.keys import LockType
from lockdep.trace import Trace
from lockdep.usage import EXCLUSIVE_MASK

EN: Final = 1
ER: Final = 2
SN: Final = 4
SR: Final = 8

FROM_EXCLUSIVE: Final = EN | ER
FROM_SHARED: Final = SN | SR
TO_BLOCKING: Final = EN | SN
TO_RECURSIVE: Final = ER | SR

KIND_NAMES: Final = ((EN, "EN"), (ER, "ER"), (SN, "SN"), (SR, "SR"))


def kind_of(held_read: int, wanted_read: int) -> int:
    """The kind of one dependency, from how the first is held and how the second is wanted."""
    if wanted_read == 2:
        return SR if held_read else ER
    return SN if held_read else EN


class Edge:
    """A dependency between two classes (kernel: `struct lock_list`).

    `distance` is 1 when the two were neighbours on a held stack. `trace` is where `next` was first asked for
    while `prev` was held.
    """

    __slots__ = ("distance", "kinds", "next", "prev", "trace")

    def __init__(self, prev: LockClass, next_: LockClass, kinds: int, distance: int, trace: Trace) -> None:
        self.prev = prev
        self.next = next_
        self.kinds = kinds
        self.distance = distance
        self.trace = trace

    def __repr__(self) -> str:
        names = "|".join(name for kind, name in KIND_NAMES if self.kinds & kind)
        return f"<Edge {self.prev.title} -({names})-> {self.next.title}>"


Path = tuple[Edge, ...]
Match = Callable[[LockClass, bool], bool]
"""Says whether a class ends the search; the flag is True when the path touches it only through its weak
side.
"""


class Found(NamedTuple):
    """The end of a search: the class, whether it was reached only weakly, and the path in its own
    direction.
    """

    at: LockClass
    weak: bool
    path: Path


def search_forwards(start: LockClass, weak: bool, match: Match) -> Found | None:
    """The nearest matching class along strong paths that leave `start`, with the path; the start itself
    counts.

    `weak` says that `start` was wanted as a recursive reader. Breadth first, linear in the edges reachable.
    """
    return _search(start, weak, match, forwards=True)


def search_backwards(start: LockClass, weak: bool, match: Match) -> Found | None:
    """The nearest matching class along strong paths that arrive at `start`; `weak`: `start` was held
    shared.
    """
    return _search(start, weak, match, forwards=False)


def _search(start: LockClass, weak: bool, match: Match, *, forwards: bool) -> Found | None:
    if match(start, weak):
        return Found(start, weak, ())
    if forwards:
        weak_arrival, strong_departure = TO_BLOCKING, FROM_EXCLUSIVE
    else:
        weak_arrival, strong_departure = FROM_EXCLUSIVE, TO_BLOCKING
    origin = (start, weak)
    came: dict[tuple[LockClass, bool], tuple[tuple[LockClass, bool], Edge] | None] = {origin: None}
    queue = deque((origin,))
    while queue:
        state = queue.popleft()
        at, weak = state
        for edge in (at.after if forwards else at.before).values():
            kinds = edge.kinds
            if weak:
                kinds &= strong_departure
                if not kinds:
                    continue
            there = edge.next if forwards else edge.prev
            reached = (there, not kinds & weak_arrival)
            # Reaching a class strongly allows all that reaching it weakly does.
            if reached in came or (there, False) in came:
                continue
            came[reached] = (state, edge)
            if match(there, reached[1]):
                return Found(there, reached[1], _path_to(reached, came, forwards))
            queue.append(reached)
    return None


def _path_to(
    reached: tuple[LockClass, bool],
    came: dict[tuple[LockClass, bool], tuple[tuple[LockClass, bool], Edge] | None],
    forwards: bool,
) -> Path:
    path = []
    step = came[reached]
    while step is not None:
        path.append(step[1])
        step = came[step[0]]
    if forwards:
        path.reverse()
    return tuple(path)


def find_cycle(prev: LockClass, prev_read: int, next_: LockClass, next_read: int) -> Path | None:
    """The shortest strong path from `next_` back to `prev`, which a new edge prev -> next would close; or
    None.
    """

    def closes(at: LockClass, weak: bool) -> bool:
        return at is prev and not (prev_read and weak)

    found = search_forwards(next_, next_read == 2, closes)
    return None if found is None else found.path


def usage_along_arrivals(start: LockClass, weak: bool) -> int:
    """All usage bits of classes with a strong path to `start`; read bits only where the far end is not
    weak.
    """
    usage = 0

    def gather(at: LockClass, weak: bool) -> bool:
        nonlocal usage
        usage |= visible_usage(at, weak)
        return False

    search_backwards(start, weak, gather)
    return usage


def visible_usage(at: LockClass, weak: bool) -> int:
    """The usage bits that count at a path's end: none of per-CPU locks, exclusive ones at a weak end."""
    if at.lock_type in {LockType.PERCPU, LockType.WAIT_OVERRIDE}:
        return 0
    return at.usage & EXCLUSIVE_MASK if weak else at.usage


def has_usage(mask: int) -> Match:
    """Matches classes with one of these usage bits."""
    return lambda at, weak: bool(visible_usage(at, weak) & mask)


def reachable(start: LockClass, *, forwards: bool) -> int:
    """How many classes can be reached along edges of any kind, the start included."""
    seen = {start.number}
    stack = [start]
    while stack:
        at = stack.pop()
        for edge in (at.after if forwards else at.before).values():
            there = edge.next if forwards else edge.prev
            if there.number not in seen:
                seen.add(there.number)
                stack.append(there)
    return len(seen)
