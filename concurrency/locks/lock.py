"""What all locks share: a name, a lock class, and assertions about who holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self

from sugarbush.concurrency.core import (
    Access,
    Dep,
    Failure,
    Kind,
    Operation,
    Task,
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
"""How `awaited` says for what somebody is waited for: only the holder can give a lock back, and where those that wait
are served in order only who stands before a task can let it come first."""

_keys: dict[str, LockClassKey] = {}


def lock_class_key(name: str) -> LockClassKey:
    """The lock class that locks of this name share; kernel: the static key of an initialisation site."""
    key = _keys.get(name)
    if key is None:
        key = _keys[name] = LockClassKey(name)
    return key


class Nested:
    """How an acquire differs from the plain one: a subclass, or the lock that serialises the whole class.

    Source: mutex_lock_nested(), mutex_lock_nest_lock() in include/linux/mutex.h, v6.6.
    """

    __slots__ = ("nest_lock", "subclass")

    def __init__(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        self.subclass = subclass
        self.nest_lock = nest_lock


class Lock:
    """A named lock of a lock class. Locks of one name share their class unless a key is given."""

    __slots__ = ("dep_map", "name")

    def __init__(self, name: str, key: LockClassKey | None = None) -> None:
        self.name = name
        self.dep_map = LockMap(lock_class_key(name) if key is None else key, name)

    @property
    def holders(self) -> Iterable[Task]:
        """The tasks that hold the lock, in any mode."""
        raise NotImplementedError

    @property
    def unheld(self) -> bool:
        """Nobody holds it, as seen from inside an effect or from outside the program: no operation, as `peek`."""
        return not any(True for _ in self.holders)

    @property
    def free(self) -> bool:
        """Nobody holds it, at this moment."""
        return not self.is_locked()

    def is_locked(self) -> bool:
        """Somebody holds it, at this moment; kernel: mutex_is_locked(), which orders nothing."""
        # An operation, since others decide it: looked at in passing, its order against a lock is no order of
        # operations, and a search that leaves out orders could pass a program that fails.
        return bool(perform(IS_LOCKED, self))

    def times_held(self, task: Task) -> int:
        """How often `task` holds it now, in any mode."""
        return list(self.holders).count(task)

    def awaited(self, task: Task) -> Mapping[Task, str]:  # noqa: ARG002
        """For a task that waits for it: without whom it can never go on, see `waiting.awaited`."""
        return dict.fromkeys(self.holders, HELD)

    @of_oneself
    def held_by_me(self) -> bool:
        """The calling task holds it, in any mode."""
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
        """Its holders and where each has taken it, or "nobody"."""
        told = []
        for task in dict.fromkeys(self.holders):
            taken = [entry for entry in held_now(task) if entry[0] is self.dep_map]
            told.append(
                task.name + "".join(f", taken at {spell((code, at))}" for _, _, code, at, _ in taken[-1:])
            )
        return "; ".join(told) or "nobody"

    def _unheld_release(self, operation: str) -> NoReturn:
        task = current_task()
        told = (
            f"{task.name} is trying to release lock ({self.name}) by {operation}, "
            "but there are no more locks to release!"
        )
        lines = [told, f"at {caller()}", f"held by {self._held_by()}", *position(task)]
        fail(Failure(Kind.LOCKDEP, "WARNING: bad unlock balance detected!", "\n".join(lines)))

    def __repr__(self) -> str:
        holders = ", ".join(task.name for task in self.holders)
        return f"<{type(self).__name__} {self.name}: {f'held by {holders}' if holders else 'free'}>"


def _held(lock: Lock, _task: Task, _arg: object) -> bool:
    return not lock.unheld


IS_LOCKED = Operation("is_locked", Access.READ_ONCE, effect=_held, local=True)


def nested(subclass: int, nest_lock: Lock | None) -> Any:
    """The argument that an acquire operation carries."""
    return Nested(subclass, nest_lock) if subclass or nest_lock is not None else None


class SharedLock(Lock):
    """A lock that one task holds alone, or several hold for reading."""

    __slots__ = ("_readers", "_writer")

    def __init__(self, name: str, key: LockClassKey | None = None) -> None:
        super().__init__(name, key)
        self._writer: Task | None = None
        self._readers: list[Task] = []

    @property
    def readers(self) -> tuple[Task, ...]:
        """Who holds it for reading, at this moment, in the order in which they came."""
        readers: tuple[Task, ...] = look_at(self, "_readers")
        return readers

    @property
    def writer(self) -> Task | None:
        """Who holds it alone, at this moment."""
        writer: Task | None = look_at(self, "_writer")
        return writer

    @property
    def exclusive(self) -> Task | None:
        """Who holds it alone, as seen from inside an effect or from outside the program: no operation, as `unheld`."""
        return self._writer


class OwnedLock(Lock):
    """A lock that one task at a time can hold: mutex, spinlock, folio lock.

    Any waiter may win when it is released, so lock stealing needs no modelling. `with lock:` locks and unlocks. A
    subclass names its operations, made by `owned_operations`, and says whether waiting for it sleeps.
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
        """Who holds it, at this moment."""
        owner: Task | None = look_at(self, "_owner")
        return owner

    @property
    def holders(self) -> tuple[Task, ...]:
        """The owner, if there is one."""
        return () if self._owner is None else (self._owner,)

    @property
    def unheld(self) -> bool:
        """See `Lock.unheld`."""
        return self._owner is None

    def times_held(self, task: Task) -> int:
        """See `Lock.times_held`."""
        return int(self._owner is task)

    def awaited(self, task: Task) -> Mapping[Task, str]:  # noqa: ARG002
        """See `Lock.awaited`."""
        # What that does, without the detour: a look for a circle is made whenever a task begins to wait.
        return {} if self._owner is None else {self._owner: HELD}

    def lock(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        """Wait until it is free and take it."""
        if self._sleeps:
            might_sleep()
        perform(self._lock, self, nested(subclass, nest_lock))

    def trylock(self) -> bool:
        """Take it if it is free now."""
        return bool(perform(self._trylock, self))

    def unlock(self) -> None:
        """Give it back; only its owner may."""
        perform(self._unlock, self)

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.unlock()


def owned_operations(prefix: str, *, atomic: bool) -> tuple[Operation, Operation, Operation]:
    """The lock, trylock and unlock operations of an `OwnedLock`, called `prefix`_lock and so on.

    The holder of an `atomic` lock may not sleep.
    """
    count = int(atomic)

    def is_free(lock: OwnedLock, _task: Task) -> bool:
        return lock._owner is None

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
