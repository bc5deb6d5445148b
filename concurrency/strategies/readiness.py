"""Whether an operation that may have to wait could have gone on at an earlier moment.

A race with such an operation can be reversed only if it could: a lock that was held cannot be taken earlier than it
was given back. So what an object was before each operation on it is kept: a copy, with its containers. Where other
operations come between which the operation does not need (those of other readers, say), their effects are made again,
on a copy of that copy. ARCHITECTURE.md ("Waiting is flat") says what that asks of primitives.
"""

from __future__ import annotations

from collections import deque
from inspect import getattr_static
from types import MemberDescriptorType
from typing import Any, Protocol

from sugarbush.concurrency.core import Operation, Task, quiet

_CONTAINERS = (list, dict, set, deque)
_names: dict[type, tuple[str, ...]] = {}


def _attributes(cls: type) -> tuple[str, ...]:
    """The slots of a class; "" stands for those attributes that an object keeps in its dictionary."""
    found = _names.get(cls)
    if found is None:
        slots: list[str] = []
        for base in cls.__mro__:
            own = base.__dict__.get("__slots__", ())
            slots += [own] if isinstance(own, str) else own
        # A subclass may declare a slot of its base anew as a shared field. The slot is never filled then, and its name
        # leads to the field: to read that would be an operation.
        slots = [
            name
            for name in slots
            if name not in ("__weakref__", "__dict__")
            and isinstance(getattr_static(cls, name, None), MemberDescriptorType)
        ]
        found = _names[cls] = (*slots, *([""] if cls.__dictoffset__ else []))
    return found


def copied(obj: Any) -> Any:
    """A new object of the same class with the same attributes; containers are copied, too, but not what they hold.

    Attribute by attribute, without the class's own methods: to read an attribute by them may be an operation.
    """
    cls = type(obj)
    new = object.__new__(cls)
    for name in _attributes(cls):
        if not name:
            for key, value in vars(obj).items():
                new.__dict__[key] = value.copy() if type(value) in _CONTAINERS else value
            continue
        try:
            value = object.__getattribute__(obj, name)
        except AttributeError:
            continue
        object.__setattr__(new, name, value.copy() if type(value) in _CONTAINERS else value)
    return new


class ObjectBefore:
    """An object, and what a task counts about itself, as both were before the task did an operation on it."""

    __slots__ = ("_counts", "_task", "obj")

    def __init__(self, obj: object, task: Task) -> None:
        self.obj = copied(obj)
        self._task = task
        self._counts = _counts(task)

    def apply(self, obj: object, effect: Any) -> None:
        """Make `effect`, that of the operation, on `obj`, with the task's counts of then; the task stays as it is."""
        task = self._task
        now = _counts(task)
        task.preempt_count, task.rcu_nesting, task.irqs_off = self._counts
        try:
            effect(obj, task, None)
        finally:
            task.preempt_count, task.rcu_nesting, task.irqs_off = now


def _counts(task: Task) -> tuple[int, int, bool]:
    return task.preempt_count, task.rcu_nesting, task.irqs_off


class EventsSoFar(Protocol):
    """What is asked here of an execution so far, which is a `concurrency.strategies.trace.Trace`; events go by number.

    A protocol, since a trace is made of states and so imports this module.
    """

    before: list[int]
    ops: list[Operation | None]
    objs: list[object]
    states: dict[tuple[int, int], ObjectBefore]

    def frees(self, event: int) -> bool:
        """Whether the event frees an object."""

    def state(self, obj: object, number: int) -> ObjectBefore | None:
        """What `obj` was before event `number`; None if that is not known."""

    def done_to(self, obj: object, first: int) -> list[int]:
        """The events on `obj` from `first` on."""


def ready_without(
    trace: EventsSoFar, task: Task, number: int, later: list[int], own: int
) -> tuple[list[int], bool]:
    """Whether the next operation of `task` could go on had event `number` not happened, nor what is ordered after it.

    `later` are the other events since that it depends on, in their order, `own` those that the task itself has to
    see. Gives a list of sets of events, and whether that is sure. Each set has what would have to stay away, too: as
    few of the last ones as will do. An empty list says that it could not go on. If that cannot be asked of a copy,
    the list has all sets that may be right, and it is not sure.
    """
    op, obj = task.op, task.obj
    before = trace.before
    # A free of another object need not stay away: it makes nothing ready or unready. That it may come after this
    # operation is a race of its own.
    apart = [
        one
        for one in later
        if not before[one] >> number & 1 and (trace.objs[one] is obj or not trace.frees(one))
    ]
    state = trace.state(obj, number)
    if state is None or op is None or op.ready is None or any(trace.objs[one] is not obj for one in apart):
        return _suffixes(apart, own), False
    between = [one for one in trace.done_to(obj, number + 1) if not before[one] >> number & 1]
    # The effects are made again one by one; after each, the object is asked. The last time that it says yes leaves the
    # fewest events that have to stay away. It is not asked as long as an event of `own` is still to come.
    best: int | None = None
    position = 0
    with quiet():
        try:
            now = copied(state.obj) if between else state.obj
            for position in range(len(between) + 1):
                needed = any(own >> one & 1 for one in between[position:])
                if not needed and op.ready(now, task):
                    best = position
                if position < len(between):
                    event = between[position]
                    done = trace.ops[event]
                    if done is not None and done.effect is not None:
                        trace.states[event, id(obj)].apply(now, done.effect)
        except Exception:
            # An effect was made in a state that the program never comes to, or needs its argument (`apply` has none).
            # It is unknown then, from this event on, and every set that may be right is given.
            known = [] if best is None else [sum(1 << one for one in between[best:] if one in apart)]
            return known + _suffixes([one for one in apart if one in between[position:]], own), False
    return [] if best is None else [sum(1 << one for one in between[best:] if one in apart)], True


def _suffixes(events: list[int], own: int) -> list[int]:
    """All sets of last ones of `events`, the smallest first, up to the last one that is in `own`, which must stay."""
    found = [0]
    for event in reversed(events):
        if own >> event & 1:
            break
        found.append(found[-1] | 1 << event)
    return found
