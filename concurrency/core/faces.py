"""Faces: what the engine may ask of the object of an operation, each said once, as a protocol.

A primitive needs a `name` (`Named`) and nothing else. Each other face is one method or attribute that makes one thing
better. The engine looks for it in the class of the object, and does without it where it is not there:

| face | who asks | without it |
| --- | --- | --- |
| `Waitable.awaited` | reports, the search for circles of waits | a circle is found only when nobody can go on |
| `Explaining.why_waiting` | reports of a deadlock | a report says no more than who waits, and where |
| `Holdable.times_held` | reports of what a task holds | a lock that a task only waits for is told as held by it |
| `Excluding.held_alone` | `dpor` within a bound | it tries to switch inside sections that nobody can enter |
| `Mapped.dep_map` | the lock validator | the validator knows of no lock; an operation with a lock's `dep` needs one |
| `Timed.late` | the clock | no task can wait for it with a deadline |
| `Seen.as_seen` | the audit, of operations that are declared to commute | the order in which a list was filled counts |
| `Renamed.PLACE_NAMES` | the audit, of what an effect touches | an attribute is the field of its own name |

All are asked from outside, between two operations. So they read slots (``_count``, not the property ``count``, which
would be an operation), make no operation and change nothing. A class has a face by having the method; it need not name
the protocol as a base. `tests/house/test_primitives.py` compares the signatures of all primitives with these. `Lock`,
from which most locks come, has `name`, `awaited`, `times_held` and `dep_map`; locks of one owner, and those that
readers share, have `held_alone`.

A gate that one task can hold shut says who that is, so a report can name the task:

>>> from sugarbush import explore, spawn
>>> from sugarbush.concurrency import current_task
>>> from sugarbush.concurrency.lowlevel import Operation, perform
>>> class Gate:
...     def __init__(self):
...         self.name, self.keeper = "gate", current_task()
...     def awaited(self, task):
...         return {self.keeper: "kept shut by {}"}
>>> def is_open(gate, _task):
...     return gate.keeper is None
>>> PASS = Operation("pass_gate", ready=is_open, alike=True, local=True)
>>> def program():
...     gate = Gate()
...     perform(PASS, gate)             # the keeper waits for itself
>>> print(explore(program, executions=1).failures[0].failure.headline)
deadlock: a circle of waits (main -> main)
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
    """What an operation can be done to: any object, best with a name."""

    name: str
    """What reports call the object; without it they say the name of the class. A plain attribute: a property would run
    code of the program in the middle of a report (`waiting.label` says what is done then)."""


class Waitable(Protocol):
    """An object that knows which tasks a waiting task depends on."""

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """The tasks that must do something before `task`, which waits for this object, can go on; {} if none is known.

        The mapping has the `Task` objects as keys, in the order in which a report tells them, and under each the words
        for it, with ``{}`` in place of the task's name: "held by {}", "queued behind {}".

        Name a task only if no other one could do what is waited for. The engine takes the answer as proof: if the
        tasks named wait for each other in a circle, it ends the execution with a deadlock. A mutex names its owner,
        since only the owner can unlock it. A semaphore has no such method: any task may call `up`, so a circle of
        waits through it may be a false deadlock.
        """


class Explaining(Protocol):
    """An object that can say more about a wait than the names of tasks."""

    def why_waiting(self, task: Task) -> list[str]:
        """For a report: one line for each thing that `task` waits for here (each reader of a grace period, say)."""


class Holdable(Protocol):
    """An object that tasks can hold."""

    def times_held(self, task: Task) -> int:
        """How often `task` holds it now, in any mode. A task that waits for it does not hold it yet."""


class Excluding(Protocol):
    """A lock that one task holds alone, or several hold for reading, and that only its holders give back.

    As long as a task holds it alone, nobody else takes it; as long as a task holds it for reading, nobody takes it
    alone. A search believes that (`concurrency.strategies.under_locks`), and stops with an error where it meets the
    contrary. A semaphore has no such method: anybody may call `up`.
    """

    def held_alone(self, task: Task) -> bool | None:
        """Whether `task` holds it now, alone (True) or for reading (False); None if it does not hold it."""


class Mapped(Protocol):
    """An object that is a lock to the lock validator."""

    dep_map: LockMap
    """The validator's view of the lock, with its lock class."""


class Timed(Protocol):
    """An object that a task can wait for with a deadline (`concurrency.time.perform_timeout`)."""

    name: str
    late: dict[int, None]
    """The numbers (`Task.id`) of the tasks whose deadline has passed while they wait; a `ready` asks `time.late`. The
    clock makes an entry, and the task that it is about takes it out: no other task looks at it."""


class Seen(Protocol):
    """An object that has more in it than operations can see: the order of its readers, numbers that only count up."""

    def as_seen(self) -> object:
        """Its state as operations can see it, in plain data: two states are the same if these are equal.

        The audit makes two operations that are declared to commute in both orders and compares what this gives.
        """


class Renamed(Protocol):
    """What has attributes that operations call otherwise: a page table's `entries` are the field ``"pte"``."""

    PLACE_NAMES: Mapping[str, str]
    """For each such attribute the `field` of the operations on it."""


def is_freed(obj: object) -> bool:
    """`obj` was freed to its slab cache, so that whoever touches it uses it after that."""
    return POISONED in type(obj).__dict__


def asked(obj: object, face: Callable[..., R]) -> Callable[..., R] | None:
    """The method of the class of `obj` that `face` names, to be called with `obj`; None if it has none, or was freed.

    `face` is the method of a protocol, as in ``asked(lock, Waitable.awaited)``. It was a text once, and a misspelt
    text was silently no method.
    """
    # Looked up in the class, never in the object: a field of a Shared object may have any name, and to read it
    # would be an operation. In the class such a field is a property, which is not callable, so it is not taken for
    # a face. An object that was freed is not asked at all: its method would touch it, and that is a use after free
    # of nobody's.
    if POISONED in type(obj).__dict__:
        return None
    found: Any = getattr(type(obj), face.__name__, None)
    return found if callable(found) else None


def dep_map_of(obj: object) -> LockMap | None:
    """The `dep_map` of `obj`, also of one that was freed; None if it is no lock to the validator."""
    # Past the `__getattribute__` of a freed object, which would report a use after free that no task has made.
    try:
        found = object.__getattribute__(obj, "dep_map")
    except AttributeError:
        return None
    return found if isinstance(found, LockMap) else None
