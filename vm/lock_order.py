"""The lock order of mm, written down once, and the observer that asserts it at every acquire.

Source: the comment at the top of mm/rmap.c, v6.1, as far as the model has these locks. A task may take a lock only
if all locks that it holds stand further out. Locks of one name may nest where a subclass or nest lock says so; the
lock validator sees to that. A trylock may be taken in any order.
"""

from __future__ import annotations

from typing import Any

from concurrency import Dep, Failure, Kind, Observer, Operation, Runtime, Task

LOCK_ORDER = (
    "inode->i_rwsem",
    "mm->mmap_lock",
    "mapping->invalidate_lock",
    "folio_lock",
    "vma->vm_lock",
    "mapping->i_mmap_rwsem",
    "anon_vma->rwsem",
    "mm->page_table_lock",
    "ptlock",
)
"""From the outermost to the innermost."""

_RANK = {name: rank for rank, name in enumerate(LOCK_ORDER)}


class LockOrder(Observer):
    """Fails an execution at the first acquire that is against `LOCK_ORDER`; the check is called ``lock-order``."""

    def __init__(self) -> None:
        self._held: dict[Task, list[str]] = {}
        self._on = True

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._held = {}
        self._on = "lock-order" not in runtime.without

    def asked(self, task: Task, op: Operation, obj: Any, arg: Any) -> None:  # noqa: ARG002
        """See `Observer.asked`."""
        if op.dep is None or op.dep > Dep.ACQUIRE_RECURSIVE:
            return
        rank = _RANK.get(obj.name)
        held = self._held.setdefault(task, [])
        if rank is None:
            return
        inner = [name for name in held if _RANK[name] > rank]
        if inner and self._on:
            raise Failure(
                Kind.LOCKDEP,
                f"lock order: {task.name} asks for {obj.name} while it holds {inner[-1]}",
                "the order, outermost first: " + " > ".join(LOCK_ORDER),
                check="lock-order",
            )
        held.append(obj.name)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        if op.dep in (Dep.TRY, Dep.TRY_READ) and result and obj.name in _RANK:
            self._held.setdefault(task, []).append(obj.name)
        elif op.dep is Dep.RELEASE and obj.name in _RANK:
            self._held[task].remove(obj.name)
