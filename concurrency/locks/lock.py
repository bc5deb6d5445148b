"""What all locks share: a name, a lock class, and assertions about who holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self

from sugarbush.concurrency.core import (
    OUTSIDE,
    Access,
    Dep,
    Failure,
    Kind,
    Operation,
    Task,
    active,
    at_once,
    caller,
    checked,
    current_task,
    fail,
    held_now,
    look_at,
    looking_from_outside,
    might_sleep,
    of_oneself,
    perform,
    position,
    spell,
)
from sugarbush.lockdep import LockClassKey, LockMap

HELD = "held by {}"
QUEUED = "queued behind {}"
"""The words of `awaited`. A task may be named as the holder, since only the holder can give a lock back; and as one
that stands before in a queue, where the queue is served in order, since the waiter cannot go on before that one."""

_keys: dict[str, LockClassKey] = {}


def lock_class_key(name: str) -> LockClassKey:
    """The lock class that locks of this name share; kernel: the static key of an initialisation site."""
    key = _keys.get(name)
    if key is None:
        key = _keys[name] = LockClassKey(name)
    return key


class Nested:
    """How an acquire differs from a plain one to the validator: by a subclass, or a lock held around it.

    Source: mutex_lock_nested(), mutex_lock_nest_lock() in include/linux/mutex.h, v6.6.
    """

    __slots__ = ("nest_lock", "subclass")

    def __init__(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        self.subclass = subclass
        self.nest_lock = nest_lock


class Lock:
    """A named lock of a lock class. Locks of one name share their class unless a key is given.

    Methods and attributes without "an operation" in their docstring are for effects, observers and reports. What a
    program asks (`is_locked`, `free`) is an operation, because the answer depends on other tasks.
    """

    __slots__ = ("dep_map", "name")

    def __init__(self, name: str, key: LockClassKey | None = None) -> None:
        self.name = name
        self.dep_map = LockMap(lock_class_key(name) if key is None else key, name)

    @property
    def holders(self) -> Iterable[Task]:
        """The tasks that hold the lock, in any mode; each subclass says which."""
        raise NotImplementedError

    @property
    def unheld(self) -> bool:
        """Whether no task holds it, for effects and looks from outside the program: no operation, as `peek`."""
        return not any(True for _ in self.holders)

    @property
    def free(self) -> bool:
        """Whether no task holds it at this moment: an operation."""
        return not self.is_locked()

    def is_locked(self) -> bool:
        """Whether a task holds it at this moment: an operation; kernel: mutex_is_locked(), which orders nothing."""
        # If this only looked, its order against a lock would be no order of operations, and a search that leaves out
        # orders could pass a program that fails.
        return bool(perform(IS_LOCKED, self))

    def times_held(self, task: Task) -> int:
        """How often `task` holds it now, in any mode (`faces.Holdable`)."""
        return list(self.holders).count(task)

    def awaited(self, task: Task) -> Mapping[Task, str]:  # noqa: ARG002
        """The tasks without which a waiting task can never go on (`faces.Waitable`): all that hold the lock."""
        return dict.fromkeys(self.holders, HELD)

    @of_oneself
    def held_by_me(self) -> bool:
        """Whether the calling task holds it, in any mode. No operation: no other task can change the answer."""
        return current_task() in self.holders

    @of_oneself
    def assert_held(self) -> None:
        """Fail unless the calling task holds the lock; kernel: lockdep_assert_held()."""
        if not self.held_by_me() and checked("lockdep") and not looking_from_outside():
            self._not_held("lockdep_assert_held")

    def assert_held_write(self) -> None:
        """Fail unless the calling task holds it exclusively; kernel: lockdep_assert_held_write()."""
        self.assert_held()

    def _not_held(self, assertion: str) -> NoReturn:
        """Fail in the words of lockdep_assert_held()."""
        task = current_task()
        fail(
            Failure(
                Kind.LOCKDEP,
                f"WARNING: {assertion}({self.name}): not held by {task.name}",
                "\n".join([f"held by {self._held_by()}", f"at {caller()}", *position(task)]),
                check="lockdep",
            )
        )

    def _held_by(self) -> str:
        """Its holders and where each has taken it, for a report; or "nobody"."""
        holders = []
        # A reader that holds it twice stands there once.
        for task in dict.fromkeys(self.holders):
            taken = [entry for entry in held_now(task) if entry[0] is self.dep_map]
            holders.append(
                task.name + "".join(f", taken at {spell((code, at))}" for _, _, code, at, _ in taken[-1:])
            )
        return "; ".join(holders) or "nobody"

    def _unheld_release(self, operation: str) -> NoReturn:
        """Fail in lockdep's words, because the task gives back what it does not hold; no check switches that off."""
        task = current_task()
        what = (
            f"{task.name} is trying to release lock ({self.name}) by {operation}, "
            "but there are no more locks to release!"
        )
        lines = [what, f"at {caller()}", f"held by {self._held_by()}", *position(task)]
        fail(Failure(Kind.LOCKDEP, "WARNING: bad unlock balance detected!", "\n".join(lines)))

    def __repr__(self) -> str:
        holders = ", ".join(task.name for task in self.holders)
        return f"<{type(self).__name__} {self.name}: {f'held by {holders}' if holders else 'free'}>"


def _held(lock: Lock, _task: Task, _arg: object) -> bool:
    return not lock.unheld


IS_LOCKED = Operation("is_locked", Access.READ_ONCE, effect=_held, local=True)


def nested(subclass: int, nest_lock: Lock | None) -> Any:
    """The `arg` of an acquire operation, for the lock validator; None for a plain one, which so makes no object."""
    return Nested(subclass, nest_lock) if subclass or nest_lock is not None else None


class SharedLock(Lock):
    """A lock that one task holds alone, or several hold for reading."""

    # At most one of the two is set: a writer excludes readers. `_readers` has a task as often as it holds the lock.
    __slots__ = ("_readers", "_writer")

    def __init__(self, name: str, key: LockClassKey | None = None) -> None:
        super().__init__(name, key)
        self._writer: Task | None = None
        self._readers: list[Task] = []

    @property
    def readers(self) -> tuple[Task, ...]:
        """The tasks that hold it for reading at this moment, in the order in which they came: an operation."""
        readers: tuple[Task, ...] = look_at(self, "_readers")
        return readers

    @property
    def writer(self) -> Task | None:
        """The task that holds it alone at this moment, or None: an operation."""
        writer: Task | None = look_at(self, "_writer")
        return writer

    @property
    def exclusive(self) -> Task | None:
        """The task that holds it alone, for effects and looks from outside the program: no operation."""
        return self._writer

    def held_alone(self, task: Task) -> bool | None:
        """Whether `task` holds it alone or for reading, or not at all (`faces.Excluding`)."""
        if self._writer is task:
            return True
        return False if task in self._readers else None


class OwnedLock(Lock):
    """A lock that one task at a time can hold: mutex, spinlock, folio lock.

    When it is released any waiter may get it, or a task that comes just then: the schedule chooses. So all orders are
    tried that queues, hand-offs and stealing in the kernel could lead to, and none of these is modelled. `with lock:`
    locks and unlocks. A subclass names its operations, made by `owned_operations`, and says whether waiting sleeps.
    """

    __slots__ = ("_owner",)

    _lock: ClassVar[Operation]
    _trylock: ClassVar[Operation]
    _unlock: ClassVar[Operation]
    _sleeps: ClassVar[bool]

    def __init__(self, name: str, key: LockClassKey | None = None) -> None:
        super().__init__(name, key)
        self._owner: Task | None = None

    @property
    def owner(self) -> Task | None:
        """The task that holds it at this moment, or None: an operation."""
        owner: Task | None = look_at(self, "_owner")
        return owner

    @property
    def holders(self) -> tuple[Task, ...]:
        """The owner, if there is one."""
        return () if self._owner is None else (self._owner,)

    @property
    def unheld(self) -> bool:
        """Whether it has no owner, for effects and looks from outside the program: no operation."""
        return self._owner is None

    def times_held(self, task: Task) -> int:
        """1 if `task` is its owner, else 0."""
        return int(self._owner is task)

    def held_alone(self, task: Task) -> bool | None:
        """True if `task` is its owner, else None: it is held alone only (`faces.Excluding`)."""
        return True if self._owner is task else None

    def awaited(self, task: Task) -> Mapping[Task, str]:  # noqa: ARG002
        """Its owner, without whom no waiting task can go on."""
        # As `Lock.awaited` with one holder, but without a tuple and a new dictionary of it: circles are looked for
        # whenever a task begins to wait.
        return {} if self._owner is None else {self._owner: HELD}

    def lock(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        """Wait until it is free and take it."""
        # Most of what programs do is this and `unlock`, so both ask the runtime at once.
        rt = active.runtime
        task = OUTSIDE if rt is None else rt.current
        if self._sleeps and (task.preempt_count or task.dozing or task.rcu_nesting or task.irqs_off):
            might_sleep()
        arg = Nested(subclass, nest_lock) if subclass or nest_lock is not None else None
        if rt is None:
            at_once(self._lock, self, arg)
        else:
            rt.perform(self._lock, self, arg)

    def trylock(self) -> bool:
        """Take it if it is free now."""
        return bool(perform(self._trylock, self))

    def unlock(self) -> None:
        """Give it back; only its owner may."""
        rt = active.runtime
        if rt is None:
            at_once(self._unlock, self, None)
        else:
            rt.perform(self._unlock, self)

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.unlock()


def owned_operations(prefix: str, *, atomic: bool) -> tuple[Operation, Operation, Operation]:
    """The lock, trylock and unlock operations of an `OwnedLock`, called `prefix`_lock and so on.

    The holder of an `atomic` lock may not sleep, and a task that waits for it keeps its CPU.
    """
    # 0 for a sleeping lock, and added all the same; `core.recording` knows that such a set changes nothing.
    count = int(atomic)

    def is_free(lock: OwnedLock, _task: Task) -> bool:
        return lock._owner is None

    # For the lock and the trylock: when the lock takes effect it is ready, so the first line is for the trylock alone.
    def take(lock: OwnedLock, task: Task, _arg: object) -> bool:
        if lock._owner is not None:
            return False
        lock._owner = task
        task.preempt_count += count
        return True

    def give_back(lock: OwnedLock, task: Task, _arg: object) -> None:
        if lock._owner is not task:
            lock._unheld_release(f"{prefix}_unlock")
        lock._owner = None
        task.preempt_count -= count

    # One ordering: whoever takes it knows what all holders before did. That a task has taken it can end the readiness
    # of others, so all three say `wakes`. The change of `preempt_count` is the task's own, and allowed to `local`.
    order = ("lock",)
    return (
        Operation(
            f"{prefix}_lock",
            ready=is_free,
            alike=True,
            effect=take,
            wakes=True,
            dep=Dep.ACQUIRE,
            acquires=order,
            local=True,
            spins=atomic,
            region=atomic,
        ),
        Operation(
            f"{prefix}_trylock",
            effect=take,
            wakes=True,
            dep=Dep.TRY,
            acquires=order,
            local=True,
            region=atomic,
        ),
        Operation(
            f"{prefix}_unlock",
            effect=give_back,
            wakes=True,
            dep=Dep.RELEASE,
            releases=order,
            local=True,
            region=atomic,
        ),
    )
