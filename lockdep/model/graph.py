"""The dependency graph: which class was wanted while which was held, and the searches over it.

An edge prev -> next carries a set of kinds: was prev held exclusively (E) or shared (S), does next wait as a
recursive reader (R) or not (N). A recursive reader is not blocked by a reader, so a path may not continue
from an edge that only has xR kinds over one that only has Sx kinds; a path without such a place is *strong*,
and a deadlock is possible when there is a strong closed path (lockdep-design.rst, "Recursive read locks").

The searches walk states (class, was the last edge only xR), not classes: a class that was reached weakly
first may be reached strongly later, and that path counts. (The kernel marks a class as visited whichever way it came,
so it can miss that path: `__bfs`, v6.6.)

A recursive reader of `b` who holds `a` does not wait for a reader of `b`, so these two do not close a circle:

>>> from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, TaskContext
>>> task = TaskContext("worker", 1)
>>> lockdep = Lockdep(lambda: task)
>>> a, b = (LockMap(LockClassKey(name)) for name in "ab")
>>> def take(first, read_first, second, read_second):
...     lockdep.acquire(first, read=read_first)
...     lockdep.acquire(second, read=read_second)
...     lockdep.release(second)
...     lockdep.release(first)
>>> take(a, 0, b, 2)
>>> take(b, 2, a, 0)
>>> lockdep.reports
[]

A writer of `b` who wants `a` is what the reader of `b` waits for:

>>> take(b, 0, a, 0)
>>> [report.headline for report in lockdep.reports]
['WARNING: possible circular locking dependency detected']
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sugarbush.lockdep.model.classes import FROM_EXCLUSIVE, TO_BLOCKING, Edge, LockClass, Made
from sugarbush.lockdep.model.keys import LockType
from sugarbush.lockdep.model.usage import EXCLUSIVE_MASK

Path = tuple[Edge, ...]
Match = Callable[[LockClass, bool], bool]
"""Says whether a class ends the search; the flag is True when the path touches it only weakly."""
Skip = Callable[[LockClass], bool]
"""Says whether no path may touch a class."""


class Found(NamedTuple):
    """The end of a search: the class, whether it is touched only weakly, the path in its own direction."""

    at: LockClass
    weak: bool
    path: Path


def makings(path: Path, weak: bool, *, forwards: bool) -> tuple[Made, ...]:
    """How each edge of a path that a search has found was made, by the task that made it what the path needs.

    `weak` and `forwards` are those of the search. Example: `a` -> `b` was seen first by a reader of `a` that wanted to
    read `b`, later by a writer of both, and a cycle goes through it that readers do not close: the writer is named.
    """
    # The kernel keeps the stack of the first kind only (add_lock_to_list(), v6.6), and may so print one that is
    # innocent. What is done here is the walk of `_search` once more, along the one path.
    if forwards:
        strong_arrival, strong_departure = TO_BLOCKING, FROM_EXCLUSIVE
    else:
        strong_arrival, strong_departure = FROM_EXCLUSIVE, TO_BLOCKING
    found = []
    for edge in path if forwards else reversed(path):
        kinds = edge.kinds & strong_departure if weak else edge.kinds
        strong = kinds & strong_arrival
        weak = not strong
        found.append(next(made for made in edge.made if made.kind & (strong or kinds)))
    return tuple(found if forwards else reversed(found))


def never(lock_class: LockClass) -> bool:  # noqa: ARG001
    """Skips nothing."""
    return False


def search_forwards(start: LockClass, weak: bool, match: Match, skip: Skip = never) -> Found | None:
    """The nearest matching class along strong paths that leave `start`; the start itself counts.

    `weak` says that `start` was wanted as a recursive reader. Breadth first, linear in the edges reachable.
    """
    return _search(start, weak, match, skip, forwards=True)


def search_backwards(start: LockClass, weak: bool, match: Match, skip: Skip = never) -> Found | None:
    """The nearest matching class along strong paths that arrive at `start`; `weak`: it was held shared."""
    return _search(start, weak, match, skip, forwards=False)


def _search(start: LockClass, weak: bool, match: Match, skip: Skip, *, forwards: bool) -> Found | None:
    if skip(start):
        return None
    if match(start, weak):
        return Found(start, weak, ())
    if forwards:
        strong_arrival, strong_departure = TO_BLOCKING, FROM_EXCLUSIVE
    else:
        strong_arrival, strong_departure = FROM_EXCLUSIVE, TO_BLOCKING
    # A state is a class's number with a low bit that says weak; the states by which edge each was reached.
    came: dict[int, Edge | None] = {start.number << 1 | weak: None}
    before: dict[int, int] = {}
    queue = deque(((start, weak),))
    while queue:
        at, weak = queue.popleft()
        for edge in (at.after if forwards else at.before).values():
            kinds = edge.kinds & strong_departure if weak else edge.kinds
            if not kinds:
                continue
            there = edge.next if forwards else edge.prev
            weakly = not kinds & strong_arrival
            state = there.number << 1 | weakly
            # What a strong visit found, a weak one need not look for again; the other way round it must.
            if state in came or there.number << 1 in came or skip(there):
                continue
            came[state] = edge
            before[state] = at.number << 1 | weak
            if match(there, weakly):
                return Found(there, weakly, _path_to(state, came, before, forwards))
            queue.append((there, weakly))
    return None


def _path_to(state: int, came: dict[int, Edge | None], before: dict[int, int], forwards: bool) -> Path:
    path = []
    edge = came[state]
    while edge is not None:
        path.append(edge)
        state = before[state]
        edge = came[state]
    if forwards:
        path.reverse()
    return tuple(path)


def find_cycle(prev: LockClass, prev_read: int, next_: LockClass, next_read: int) -> Path | None:
    """The shortest strong path from `next_` back to `prev`, which an edge prev -> next would close."""
    # The common case of a lock that nothing was taken under yet.
    if not next_.after and next_ is not prev:
        return None

    def closes(at: LockClass, weak: bool) -> bool:
        return at is prev and not (prev_read and weak)

    found = search_forwards(next_, next_read == 2, closes)
    return None if found is None else found.path


def implied(prev: LockClass, prev_read: int, next_: LockClass, next_read: int) -> bool:
    """True when a strong path joins the two already: an edge prev -> next closes no new cycle."""

    def arrives(at: LockClass, weak: bool) -> bool:
        return at is next_ and (next_read == 2 or not weak)

    return search_forwards(prev, prev_read == 0, arrives) is not None


def no_irq_path(lock_class: LockClass) -> bool:
    """Paths from irq-safe to irq-unsafe locks do not run through what only stands for a lock.

    Kernel: `usage_skip`.
    """
    return lock_class.lock_type in {LockType.PERCPU, LockType.WAIT_OVERRIDE}


def usage_of_arrivals(start: LockClass, weak: bool) -> int:
    """The usage bits that are visible from `start` along strong paths backwards, its own included."""
    usage = 0

    def gather(at: LockClass, weak: bool) -> bool:
        nonlocal usage
        usage |= visible_usage(at, weak)
        return False

    search_backwards(start, weak, gather, no_irq_path)
    return usage


def visible_usage(at: LockClass, weak: bool) -> int:
    """The usage bits that count at the end of a path: only the exclusive ones when it ends weakly."""
    return at.usage & EXCLUSIVE_MASK if weak else at.usage


def has_usage(mask: int) -> Match:
    """Matches classes with one of these usage bits."""
    return lambda at, weak: bool(visible_usage(at, weak) & mask)


def reach_counts(classes: Sequence[LockClass], *, forwards: bool) -> dict[int, int]:
    """For each class, how many classes paths of any kind lead to (or come from), itself included."""
    # Sets as bits of integers, joined until nothing changes: for the listings, where all pairs are wanted at once. A
    # search from each class would go over every edge as many times as there are classes.
    reach = {known.number: 1 << index for index, known in enumerate(classes)}
    changed = True
    while changed:
        changed = False
        # Classes are mostly first seen outermost first, so this order settles most of them in one pass.
        for known in reversed(classes) if forwards else classes:
            before = after = reach[known.number]
            for number in known.after if forwards else known.before:
                after |= reach[number]
            if after != before:
                reach[known.number] = after
                changed = True
    return {number: bits.bit_count() for number, bits in reach.items()}
