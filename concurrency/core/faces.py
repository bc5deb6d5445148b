"""What the engine asks the object of an operation: all that a primitive may have, said once.

A primitive needs `name` (`Named`) and nothing else. Each other face is one method or attribute, and makes one thing
better; the engine looks for it in the class, and does without it where it is not there:

| face | who asks | without it |
| --- | --- | --- |
| `Waitable.awaited` | reports, the search for circles of waits | a circle is found only when nobody can go on |
| `Explaining.why_waiting` | reports of a deadlock | a report says no more than who waits, and where |
| `Holdable.times_held` | who tells what a task holds | a lock that is only asked for counts as held |
| `Mapped.dep_map` | the lock validator | it is no lock to it; an operation with a `dep` of a lock needs one |
| `Timed.late` | the clock | it cannot be waited for with a deadline |
| `Seen.as_seen` | the audit, of what is declared to commute | the order in which a list was filled counts |
| `Renamed.PLACE_NAMES` | the audit, of what an effect touches | an attribute is the field of its own name |

All are asked from outside, between two operations: they look at slots (``_count``), make no operation and change
nothing. `tests/house/test_primitives.py` compares the signatures of all primitives with these. `Lock`, from which most
locks come, has `name`, `awaited`, `times_held` and `dep_map`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sugarbush.concurrency.core.runtime import POISONED
from sugarbush.lockdep import LockMap

if TYPE_CHECKING:
    from sugarbush.concurrency.core.task import Task

R = TypeVar("R")


class Named(Protocol):
    """What an operation can be done to."""

    name: str
    """How reports call it. A plain attribute: a property would run code of the program, see `waiting.label`."""


class Waitable(Protocol):
    """What knows without whom a waiting task can never go on."""

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """The tasks without each of which `task`, which waits for this, can never go on, in the order to tell them.

        With each stands how to say it, with ``{}`` for its name: "held by {}", "queued behind {}". Only who is
        indispensable may be named. A semaphore has no such method, since anybody may call `up`: a circle through it
        would be a false deadlock. A mutex names its owner.
        """


class Explaining(Protocol):
    """What can say more of a wait than for whom it is."""

    def why_waiting(self, task: Task) -> list[str]:
        """For a report: one line for each thing that `task` waits for here (the readers of a grace period, say)."""


class Holdable(Protocol):
    """What tasks hold."""

    def times_held(self, task: Task) -> int:
        """How often `task` holds it now, in any mode; not what it has only asked for."""


class Mapped(Protocol):
    """What the lock validator knows as a lock."""

    dep_map: LockMap
    """Its lock class."""


class Timed(Protocol):
    """What a task can wait for with a deadline (`concurrency.time.perform_timeout`)."""

    name: str
    late: dict[int, None]
    """The numbers of the tasks whose deadline has passed while they wait. An entry is its task's own."""


class Seen(Protocol):
    """What has more in it than operations can see: the order in which readers came, numbers that only count up."""

    def as_seen(self) -> object:
        """Its state as operations can see it, in plain data that can be compared."""


class Renamed(Protocol):
    """What has attributes that operations call otherwise: a page table's `entries` are the field ``"pte"``."""

    PLACE_NAMES: Mapping[str, str]
    """For each such attribute the `field` of the operations on it."""


def is_freed(obj: object) -> bool:
    """`obj` was freed to its slab cache, so that whoever touches it uses it after that."""
    return POISONED in type(obj).__dict__


def asked(obj: object, face: Callable[..., R]) -> Callable[..., R] | None:
    """The method of `obj` that `face` names, to be called with the object; None if it has none, or was freed.

    `face` is the method of a protocol, so a misspelt one is no name at all: ``asked(lock, Waitable.awaited)``.
    """
    # In the class: a field of a Shared object may have any name, and to look at it would be an operation. Such a field
    # is a property there and no method, so it does not answer for one. What was freed would fail as a use after free.
    if POISONED in type(obj).__dict__:
        return None
    found: Any = getattr(type(obj), face.__name__, None)
    return found if callable(found) else None


def dep_map_of(obj: object) -> LockMap | None:
    """The lock class of `obj`, also of one that was freed; None if it is no lock to the validator."""
    try:
        found = object.__getattribute__(obj, "dep_map")
    except AttributeError:
        return None
    return found if isinstance(found, LockMap) else None
