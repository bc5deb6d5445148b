"""Slab caches: typed allocation with GFP flags; a freed object is poisoned, a lost one is a leak.

Kernel: kmem_cache_alloc() in mm/slub.c with KASAN, v6.6. An object is never handed out again after it was freed (as
under KASAN's quarantine), so every touch of a stale reference is seen, except in a cache that is type-safe by RCU,
whose memory may be reused at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sugarbush.concurrency.core import (
    POISONED,
    Failure,
    Footprint,
    Kind,
    Observer,
    Operation,
    Runtime,
    Task,
    active,
    caller,
    check_runs,
    checked,
    current_task,
    domain,
    fail,
    might_sleep,
    perform,
)
from sugarbush.concurrency.memory.pressure import may_reclaim
from sugarbush.lockdep.model import GFP_DIRECT_RECLAIM, GFP_NOFAIL, gfpflags_allow_blocking

T = TypeVar("T")

ALLOC = Operation("kmem_cache_alloc", footprint=Footprint.NOTHING, allocates=True)
ALLOC_REUSABLE = Operation("kmem_cache_alloc", local=True, allocates=True)
"""From a cache that is type-safe by RCU: an object that was freed may be handed out, so the order against frees of the
same cache matters, and the place is the cache."""
FREE = Operation("kmem_cache_free", releases=("freed",), footprint=Footprint.FREES)
FREE_STEPPED = Operation("kmem_cache_free", releases=("freed",), local=True)
"""To free an object that tasks touch by operations only (`KmemCache(stepped=True)`)."""


def _whose_memory(_cache: object, obj: Any, _result: object) -> Any:
    return obj


def _nothing(_cache: object, _task: Task, _obj: object) -> None:
    """What is done is done after it, as for all frees (`KmemCache.free`)."""


FREE_REUSABLE = Operation(
    "kmem_cache_free",
    effect=_nothing,
    wakes=False,
    releases=("freed",),
    orders=_whose_memory,
    local=True,
    keeps_arg=True,
)
"""To free an object of a cache that is type-safe by RCU, which is the argument. Whoever touches it later touches memory
of its type, as if it had not been freed; so all that changes is the cache, which may hand it out again."""
REUSE = Operation("kmem_cache_reuse", acquires=("freed",), local=True)
"""What the last owner of reused memory did is before all that the next one does."""


class SlabDomain:
    """What is alive and what was freed in one execution."""

    # By id, with the object itself in the value: it stays alive as long as the entry, so the id stays its own.
    # Keyed by the object, a class with `__eq__` would be asked, and that is code of the program.
    def __init__(self) -> None:
        self.alive: dict[int, tuple[Any, KmemCache[Any], str]] = {}
        """By id: the object, its cache, and where it was allocated."""
        self.freed: dict[int, tuple[Any, KmemCache[Any], str, str]] = {}
        """By id: the same, and where it was freed."""
        self.reusable: dict[KmemCache[Any], list[Any]] = {}
        """For each cache that is type-safe by RCU its free objects; the last one freed is handed out first."""


class KmemCache(Generic[T]):
    """A cache of objects made by `ctor`.

    `object_size` is in bytes (a 4096-byte page holds ``4096 // object_size``). With `typesafe_by_rcu` a freed object
    is not poisoned and may be handed out again at once: readers must check what they found.

    `stepped` declares that a task touches an object only by an operation on it, or between such an operation and
    its next one. To free an object then depends on operations on this object alone; without it, on everything,
    since any code may hold a reference and touch it (`concurrency.checks.dependence`).

    >>> from sugarbush import explore, spawn
    >>> from sugarbush.concurrency import Plain, Shared
    >>> from sugarbush.lockdep.model.gfp import GFP_KERNEL
    >>> class Node(Shared):
    ...     value: Plain[int] = 0
    >>> def program():
    ...     cache = KmemCache("node", Node)
    ...     node = cache.alloc(GFP_KERNEL)
    ...     spawn(cache.free, node, name="owner")
    ...     node.value
    >>> explore(program, strategy="dpor").failures[0].failure.kind.value
    'use-after-free'
    """

    def __init__(
        self,
        name: str,
        ctor: Callable[..., T],
        *,
        object_size: int = 0,
        typesafe_by_rcu: bool = False,
        stepped: bool = False,
    ) -> None:
        check_runs(ctor, f"the constructor of the cache {name}")
        self.name = name
        self.object_size = object_size
        self.typesafe_by_rcu = typesafe_by_rcu
        self._alloc = ALLOC_REUSABLE if typesafe_by_rcu else ALLOC
        self._free = FREE_STEPPED if stepped else FREE
        self._ctor = ctor
        self.frees_for_all = not stepped and not typesafe_by_rcu
        """To free one of its objects makes every later touch a failure, and it is not declared which touches there
        are."""

    def alloc(self, gfp: int, *args: Any) -> T | None:
        """A new object, `ctor(*args)`; None if there is no memory, which is a choice (`Settings.faults`)."""
        # All that an allocation may bring about before it (a report, reclaim) comes before it is announced, as in the
        # kernel's slab_pre_alloc_hook(); so it shows in each execution, also where there is memory.
        rt = active.runtime
        if gfpflags_allow_blocking(gfp):
            might_sleep()
        if rt is None:
            return self._ctor(*args)
        rt.might_alloc(gfp)
        if gfp & GFP_DIRECT_RECLAIM:
            may_reclaim(rt)
        rt.step(self._alloc, self)
        if rt.faults and not gfp & GFP_NOFAIL and rt.choose(2, f"allocation of {self.name} fails"):
            rt.faults -= 1
            return None
        obj = self._new(args)
        rt.made(obj)
        return obj

    def _new(self, args: tuple[Any, ...]) -> T:
        slab = domain(SlabDomain)
        reusable = slab.reusable.get(self)
        obj: T
        if reusable:
            obj = reusable.pop()
            perform(REUSE, obj)
            obj.__init__(*args)  # type: ignore[misc]
        else:
            obj = self._ctor(*args)
        slab.alive[id(obj)] = (obj, self, _where())
        return obj

    def alloc_bulk(self, gfp: int, n: int) -> list[T]:
        """`n` objects, or an empty list if there is no memory for all of them; kernel: kmem_cache_alloc_bulk()."""
        objects: list[T] = []
        for _ in range(n):
            obj = self.alloc(gfp)
            if obj is None:
                for taken in objects:
                    self.free(taken)
                return []
            objects.append(obj)
        return objects

    def adopt(self, obj: T) -> None:
        """Count `obj`, which was made without the cache, as one of its own from here on.

        So it can be freed, and is a leak if it is not. For objects that are there from the beginning, and are freed
        only in rare cases (the swap map that swapoff gives back).
        """
        if active.runtime is not None:
            domain(SlabDomain).alive[id(obj)] = (obj, self, _where())

    def free(self, obj: T) -> None:
        """Give `obj` back; any later touch of it is a use after free, freeing it again a double free."""
        rt = active.runtime
        if rt is None:
            return
        # What follows belongs to this operation, since no other task runs before the next one. It is no effect,
        # because a reduced search makes effects on copies, and nothing of this may happen to those.
        if self.typesafe_by_rcu:
            rt.perform(FREE_REUSABLE, self, obj)
        else:
            rt.perform(self._free, obj)
        slab = domain(SlabDomain)
        entry = slab.alive.pop(id(obj), None)
        if entry is None:
            _double_free(self, obj, slab)
            return
        if self.typesafe_by_rcu:
            slab.reusable.setdefault(self, []).append(obj)
            return
        slab.freed[id(obj)] = (*entry, _where())
        # The class is what is poisoned, not each access: an object that is alive pays nothing for the check.
        object.__setattr__(obj, "__class__", _poisoned(type(obj)))

    def __repr__(self) -> str:
        return f"<KmemCache {self.name}>"


class LeakCheck(Observer):
    """At the end of an execution nothing from a slab cache may be alive."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None

    def begin(self, runtime: Runtime) -> None:
        """Keep the runtime, which has the slab of this execution."""
        self._runtime = runtime

    def finished(self) -> None:
        """Raise a leak if anything is alive, with the counts by cache and the place of each allocation."""
        if self._runtime is None or "leak" in self._runtime.without:
            return
        slab = self._runtime.domains.get(SlabDomain)
        alive = {} if slab is None else slab.alive
        if alive:
            counts: dict[str, int] = {}
            for _, cache, _ in alive.values():
                counts[cache.name] = counts.get(cache.name, 0) + 1
            summary = ", ".join(f"{count} of {name}" for name, count in counts.items())
            where = "\n".join(f"{cache.name} allocated by {site}" for _, cache, site in alive.values())
            raise Failure(Kind.LEAK, f"leak: {summary} never freed", where, check="leak")


def _where() -> str:
    return f"{current_task().name} at {caller()}"


def _double_free(cache: KmemCache[Any], obj: Any, slab: SlabDomain) -> None:
    if not checked("double-free"):
        return
    entry = slab.freed.get(id(obj))
    if entry is not None:
        detail = f"allocated by {entry[2]}, freed by {entry[3]}"
    elif any(free is obj for free in slab.reusable.get(cache, ())):
        detail = "it is free already"
    else:
        detail = "it was never allocated from a cache in this execution"
    headline = f"BUG: KASAN: double-free of {cache.name} by {_where()}"
    fail(Failure(Kind.DOUBLE_FREE, headline, detail, check="double-free"))


def _poisoned(cls: type) -> type:
    """A subclass of the same layout, every access to whose objects is a use after free; made once for each class."""
    # In the class's own dictionary: a subclass of a class that has one needs one of its own.
    found: type | None = cls.__dict__.get("_poisoned")
    if found is None:

        def touch(obj: object, name: str, *_value: object) -> object:
            if name == "__class__":
                return found
            _use_after_free(obj, name)
            return object.__getattribute__(obj, name)

        def touch_write(obj: object, name: str, value: object) -> None:
            _use_after_free(obj, name)
            object.__setattr__(obj, name, value)

        found = type(cls)(
            cls.__name__,
            (cls,),
            {
                "__slots__": (),
                "__getattribute__": touch,
                "__setattr__": touch_write,
                "__module__": cls.__module__,
                POISONED: True,
            },
        )
        type.__setattr__(cls, "_poisoned", found)
    return found


def _use_after_free(obj: object, name: str) -> None:
    """Report the access to the attribute `name` of a freed object, if a program runs that has freed it."""
    rt = active.runtime
    if rt is None or not checked("use-after-free"):
        return
    entry = rt.domain(SlabDomain).freed.get(id(obj))
    if entry is None:
        return
    _, cache, allocated, freed = entry
    name = name.removeprefix("_")
    fail(
        Failure(
            Kind.USE_AFTER_FREE,
            f"BUG: KASAN: slab-use-after-free in {cache.name}.{name} by {_where()}",
            f"allocated by {allocated}\nfreed by {freed}",
            check="use-after-free",
        )
    )
