"""The offline validator: lock events of a file are told to the validator as if the tasks ran now.

One JSON object a line:

    {"task": "cook", "pid": 4711, "time": 37.1, "event": "acquire", "lock": "ffff888112345678",
     "class": "&oven->door_lock",
     "subclass": 0, "read": 0, "try": false, "check": true, "nest": null, "irq": "", "site": "oven_open_door"}

``event`` is acquire, release, downgrade or free. ``read`` is 0 exclusive, 1 plain read, 2 recursive read.
``irq`` joins with ``|`` what is so: softirq, hardirq, nmi (the context), hardirqs-off, bh-off. Only task,
event and lock are needed; an acquire needs the class as well. `event_of` makes such an object of a raw
tracepoint's arguments. ftrace's text cannot be used: it has neither subclass nor nest lock and one mode of
read, so a nesting that is annotated would be reported as a recursion.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import CodeType, FunctionType
from typing import Any, BinaryIO, Final

from sugarbush.lockdep.engine import Lockdep
from sugarbush.lockdep.model import LockClassKey, LockMap, TaskContext
from sugarbush.lockdep.outside import UnusableFile, shown
from sugarbush.lockdep.show import Snapshot, take

BATCH: Final = 512
LOCKS: Final = 200_000
"""Locks that are remembered; beyond, those of classes with several instances that nobody holds are forgotten.
"""
TASKS: Final = 50_000
SITES: Final = 50_000
LONGEST: Final = 1 << 16
_CONTEXTS: Final = ("softirq", "hardirq", "nmi")
_FLAGS: Final = ("hardirqs-off", "bh-off")
_FTRACE: Final = (b"# tracer:", b"lock_acquire:", b"lock_release:")


def event_of(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An event of a raw tracepoint: ``lock_acquire(lock, subclass, trylock, read, check, nest_lock, ip)``,
    ``lock_release``.

    `fields` has those arguments by name, with `lock_name` (``lock->name``), `comm`, `pid` and, where known,
    `irq`.

    >>> event_of("lock_release", {"lock": "ffff8881", "comm": "cook", "pid": 7})["event"]
    'release'
    """
    event = {
        "task": fields.get("comm", "task"),
        "pid": fields.get("pid", 0),
        "event": name.removeprefix("lock_"),
        "lock": fields["lock"],
        "irq": fields.get("irq", ""),
    }
    if "time" in fields:
        event["time"] = fields["time"]
    if event["event"] == "acquire":
        event.update(
            {
                "class": fields["lock_name"],
                "subclass": fields.get("subclass", 0),
                "read": fields.get("read", 0),
                "try": bool(fields.get("trylock", 0)),
                "check": bool(fields.get("check", 1)),
                "nest": fields.get("nest_lock") or None,
                "site": str(fields.get("ip", "")),
            }
        )
    return event


@dataclass(slots=True)
class _LoggedTask:
    context: TaskContext
    irq: str = ""
    contexts: tuple[str, ...] = ()
    taken: set[Any] = field(default_factory=set)


class Offline:
    """A validator that hears of its tasks by events, and goes on after each report.

    >>> offline = Offline()
    >>> for task, locks in (("cook", "ab"), ("baker", "ba")):
    ...     for lock in locks:
    ...         offline.feed({"task": task, "event": "acquire", "lock": lock, "class": lock})
    ...     for lock in reversed(locks):
    ...         offline.feed({"task": task, "event": "release", "lock": lock})
    >>> [str(report.kind) for report in offline.lockdep.reports]
    ['circular-locking']
    """

    def __init__(self) -> None:
        self._now = TaskContext("nobody", 0)
        self.lockdep = Lockdep(lambda: self._now, internal=("sugarbush.lockdep",), stacks=False)
        self.events = 0
        self.passed_over = 0
        """Releases of locks that were taken before the events begin: nothing can be said of them."""
        self._tasks: dict[tuple[str, int], _LoggedTask] = {}
        self._locks: dict[Any, LockMap] = {}
        self._keys: dict[str, LockClassKey] = {}
        self._sites: dict[str, Callable[..., None]] = {}
        self._counts: dict[str, int] = {}
        self._states: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {"": ((), frozenset())}

    def feed(self, event: dict[str, Any]) -> None:
        """One event; raises KeyError, TypeError or ValueError for one that is none."""
        what = event["event"]
        who = (event["task"], event.get("pid", 0))
        task = self._tasks.get(who)
        if task is None:
            task = self._new_task(who)
        self._now = task.context
        irq = event.get("irq", "")
        if irq != task.irq:
            self._switch(task, irq)
        lock = event["lock"]
        self.events += 1
        if what == "acquire":
            lock_map = self._locks.get(lock)
            name = event["class"]
            if lock_map is None or lock_map.name != name:
                # Memory of a lock that went is given to another one.
                lock_map = self._new_lock(lock, name)
            nest = event.get("nest")
            site = event.get("site", "")
            at = self._sites.get(site)
            if at is None:
                at = self._site(site)
            at(
                self.lockdep.acquire,
                lock_map,
                event.get("read", 0),
                event.get("try", False),
                event.get("subclass", 0),
                None if nest is None else self._locks.get(nest),
                event.get("check", True),
            )
            task.taken.add(lock)
        elif what == "release":
            if lock not in task.taken:
                self.passed_over += 1
                return
            self.lockdep.release(self._locks[lock])
            if len(task.taken) > 64 and not task.context.held:
                # It holds nothing, so what it releases next it took before it is told here: as good as never
                # taken.
                task.taken.clear()
        elif what == "downgrade":
            if lock in task.taken:
                self.lockdep.downgrade(self._locks[lock])
        elif what == "free":
            known = self._locks.get(lock)
            if known is not None:
                self.lockdep.free_check([known])
                self._forget(lock)
        else:
            raise ValueError(f"event {shown(what)} is none of acquire, release, downgrade and free")

    def _new_task(self, who: tuple[Any, Any]) -> _LoggedTask:
        if not isinstance(who[0], str) or type(who[1]) is not int:
            raise TypeError("task is a text and pid a whole number")
        if len(self._tasks) >= TASKS:
            for other in [key for key, one in self._tasks.items() if not one.context.held]:
                del self._tasks[other]
        task = self._tasks[who] = _LoggedTask(TaskContext(*who))
        return task

    def _new_lock(self, lock: Any, name: Any) -> LockMap:
        if not isinstance(name, str) or isinstance(lock, list | dict):
            raise TypeError("class is a text, and lock a text or a number")
        if len(self._locks) >= LOCKS:
            held = {id(entry[0]) for one in self._tasks.values() for entry in one.context.held}
            # A class of one instance can guard a cycle: it must not seem to get a second one, so it is kept.
            for old in [
                key for key, one in self._locks.items() if id(one) not in held and self._counts[one.name] > 1
            ]:
                del self._locks[old]
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = LockClassKey(name)
        self._counts[name] = self._counts.get(name, 0) + 1
        made = self._locks[lock] = LockMap(key)
        return made

    def _forget(self, lock: Any) -> None:
        del self._locks[lock]

    def _site(self, site: Any) -> Callable[..., None]:
        """A function of that name through which an acquire is made: so reports name the place that the event
        names.
        """
        if not isinstance(site, str):
            raise TypeError("site is a text")
        if len(self._sites) >= SITES:
            self._sites.clear()
        # A place with a line of source (``f dir/file.c:12``, as decoded) is told with it.
        found = _PLACE.match(site)
        name, file, line = (found[1], found[2], int(found[3])) if found else (site or "an event", "events", 0)
        code: CodeType = _THROUGH.__code__.replace(
            co_name=name, co_qualname=name, co_filename=file, co_firstlineno=line
        )
        made = self._sites[site] = FunctionType(code, {}, name)
        return made

    def _switch(self, task: _LoggedTask, irq: Any) -> None:
        """Interrupts go off or on, handlers come in and go, as this event has it and the last one had not."""
        state = self._states.get(irq)
        if state is None:
            words = irq.split("|")
            unknown = [word for word in words if word not in _CONTEXTS and word not in _FLAGS]
            if unknown:
                raise ValueError(f"irq has {shown(unknown[0])}: there are {', '.join((*_CONTEXTS, *_FLAGS))}")
            state = self._states[irq] = (
                tuple(word for word in _CONTEXTS if word in words),
                frozenset(words) & frozenset(_FLAGS),
            )
        contexts, flags = state
        lockdep, now = self.lockdep, task.contexts
        while now != contexts[: len(now)]:
            # What the handler switched ends with it.
            getattr(lockdep, f"{now[-1]}_exit")()
            now = now[:-1]
        for entered in contexts[len(now) :]:
            getattr(lockdep, f"{entered}_enter")()
        task.contexts, task.irq = contexts, irq
        context = task.context
        if not contexts and ("bh-off" in flags) != bool(context.bh_disabled):
            (lockdep.local_bh_disable if "bh-off" in flags else lockdep.local_bh_enable)()
        # In a hardirq handler or an NMI they are off, whether the event says so or not.
        if contexts in ((), ("softirq",)) and ("hardirqs-off" in flags) == context.hardirqs_enabled:
            (lockdep.hardirqs_off if "hardirqs-off" in flags else lockdep.hardirqs_on)()

    def snapshot(self) -> Snapshot:
        """What the validator knows."""
        return take(self.lockdep)


def _made_through() -> FunctionType:
    """The function that `Offline._site` copies under other names; all of it is one line, so that the line can
    be chosen.
    """
    made: dict[str, Any] = {}
    exec(
        "def through(acquire, lock_map, read, trylock, subclass, nest_lock, check): "
        "acquire(lock_map, read=read, trylock=trylock, subclass=subclass, nest_lock=nest_lock, check=check)",
        made,
    )
    through = made["through"]
    assert isinstance(through, FunctionType)
    return through


_THROUGH: Final = _made_through()
_PLACE: Final = re.compile(r"(\S+) \(?([^\s:()]+):(\d{1,7})\)?$")


def feed_stream(stream: BinaryIO, name: str) -> Offline:
    """All events of a stream; raises `UnusableFile` that names the first line that is no event.

    A last line without an end was cut, and is passed over.
    """
    offline = Offline()
    for first, batch in _batches(stream, name):
        try:
            rows = json.loads(b"[" + b",".join(batch) + b"]")
        except (ValueError, RecursionError):
            rows = None
        if rows is None or len(rows) != len(batch):
            _find_broken(offline, batch, first, name)
            continue
        for at, row in enumerate(rows):
            try:
                offline.feed(row)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise UnusableFile(f"{name}, line {first + at}: {_why(error)}") from None
    return offline


def _find_broken(offline: Offline, batch: list[bytes], first: int, name: str) -> None:
    for at, line in enumerate(batch):
        try:
            row = json.loads(line)
            offline.feed(row)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
            raise UnusableFile(f"{name}, line {first + at}: {_why(error)}") from None


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the event has no {shown(error.args[0])}"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "this is no JSON object with a lock event"
    return f"this is no lock event ({error})"


def _batches(stream: BinaryIO, name: str) -> Iterator[tuple[int, list[bytes]]]:
    number = 1
    lines = _lines(stream, name)
    while batch := list(islice(lines, BATCH)):
        if (
            number == 1
            and any(mark in line for line in batch[:20] for mark in _FTRACE)
            and not batch[0].startswith(b"{")
        ):
            raise UnusableFile(
                f"{name} is text of ftrace, which has no subclass, no nest lock and one mode of "
                "read, so that reports of it"
                " would be wrong: record the raw tracepoints' arguments instead (docs/lock-reports.md)"
            )
        yield number, [line for line in batch if line.strip()]
        number += len(batch)


def _lines(stream: BinaryIO, name: str) -> Iterable[bytes]:
    number = 0
    while line := stream.readline(LONGEST):
        number += 1
        if not line.endswith(b"\n"):
            if len(line) >= LONGEST:
                raise UnusableFile(
                    f"{name}, line {number}: this is no lock event: it is longer than {LONGEST} bytes"
                )
            try:
                json.loads(line)
            except ValueError:
                return
        yield line
