"""Threads and locks of the operating system in a program that is explored: refused, since they are not explored.

A task that starts a `threading.Thread` goes on while that thread runs, whatever the schedule says; and at a
`threading.Lock` no other task is tried. The result would be told as explored although it is not. Threads are
refused in every execution. Locks are harder to see: a profile function has to hear every call, which takes about
five times as long, so only some executions have one, the first among them.

Which frame makes the call decides: the locks inside of `logging`, `print`, the import system and libraries are not the
program's. `Settings(without=frozenset({"foreign"}))` allows all of it.
"""

from __future__ import annotations

import _thread
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from queue import SimpleQueue
from types import CodeType, FrameType
from typing import Any, Protocol, TypeVar

from sugarbush.concurrency.core.failure import ConcurrencyError
from sugarbush.concurrency.core.runtime import active, checked
from sugarbush.concurrency.core.site import spell
from sugarbush.concurrency.core.task import OUTSIDE

R_co = TypeVar("R_co", covariant=True)
CHECK = "foreign"
EVERY = 1024
"""One execution in so many is listened to, from the first one on.

Such an execution takes about five times as long, so this costs half of a per cent in a long exploration. Every
128th cost more than three.
"""

_SPAWN = "spawn() starts a task"
_INSTEAD = {
    "lock": "use a Mutex or Spinlock",
    "RLock": "use a Mutex, which is not taken twice",
    "Lock": "use a Mutex or Spinlock",
    "Condition": "use sugarbush.concurrency.Condition",
    "Event": "use a Completion or a Flag",
    "Semaphore": "use sugarbush.concurrency.Semaphore",
    "BoundedSemaphore": "use sugarbush.concurrency.Semaphore",
    "Barrier": "use sugarbush.concurrency.Barrier",
    "Thread": f"{_SPAWN}, join() waits for it",
    "Timer": "use sugarbush.concurrency.Timer",
    "Process": f"{_SPAWN}, join() waits for it",
    "ThreadPoolExecutor": _SPAWN,
    "ProcessPoolExecutor": _SPAWN,
    "Future": "join() gives the result of a task",
}
_QUEUE = "use a list under a Mutex, with a Condition"
_C_LOCKS = (type(threading.Lock()), type(threading.RLock()), SimpleQueue)
_STARTERS = (
    _thread.start_new_thread,
    getattr(_thread, "start_joinable_thread", None),
    getattr(os, "fork", None),
)
_GIVES_BACK = frozenset({"__exit__", "release", "release_lock"})
_USES = _GIVES_BACK | {
    *("acquire", "acquire_lock", "__enter__", "locked"),
    *("wait", "wait_for", "notify", "notify_all", "set", "clear", "is_set"),
    *("put", "put_nowait", "get", "get_nowait", "task_done", "empty", "full", "qsize"),
    *("start", "join", "submit", "map", "result", "exception", "shutdown"),
}
"""Methods by which a lock, queue, thread or future is used: calls that other threads could notice, or that could
wait for them. To make such an object, or to print it, is allowed."""
_LIBRARY = tuple(
    {
        os.path.join(path, "")
        for path in (
            *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
            *site.getsitepackages(),
            site.getusersitepackages(),
        )
    }
)
# Taken from a code object, so that it is spelt as in frames, also where the package was imported by another path.
_HERE = os.path.dirname(os.path.dirname(checked.__code__.co_filename))
_PACKAGES = tuple(
    os.path.join(os.path.dirname(_HERE), name, "")
    for name in ("concurrency", "lockdep", "tree", "vm", "stress")
)
_GLUE = frozenset({"contextlib.py"})
"""Files of the library whose frames are passed over to find who makes a call: `contextlib` stands between a program
and the lock that it enters. Not functools: up to Python 3.11 a cached_property takes a lock of its own."""
_SYNC = frozenset(
    {
        "threading.py",
        "queue.py",
        os.path.join("multiprocessing", "synchronize.py"),
        os.path.join("multiprocessing", "queues.py"),
        os.path.join("multiprocessing", "process.py"),
        os.path.join("multiprocessing", "context.py"),
        os.path.join("concurrent", "futures", "_base.py"),
        os.path.join("concurrent", "futures", "thread.py"),
        os.path.join("concurrent", "futures", "process.py"),
    }
)
"""Files of the library whose classes threads and processes synchronise by."""
_LOCKDEP_THREADS = os.path.join(_PACKAGES[1], "python", "threads.py")
_USER, _GLUES, _SYNCS, _OTHER = range(4)
_files: dict[str, int] = {}
_exploring: dict[int, int] = {}
"""How many explorations each thread is inside of. Only their tasks are refused threads: another thread of the
process (a test runner's, say) may start what it likes."""


class Runs(Protocol[R_co]):
    """A runtime: runs a program once."""

    def run(self, program: Callable[[], Any]) -> R_co:
        """Run the program once."""


def run_heard(runtime: Runs[R_co], program: Callable[[], Any], number: int) -> R_co:
    """Make execution `number`; in some of them, calls of locks of the operating system are listened for."""
    # There is one profile function a thread, and it is not ours if a profiler is at work. (A coverage tool uses the
    # trace function, which is another one.)
    if number % EVERY or sys.getprofile() is not None:
        return runtime.run(program)
    before = threading.getprofile()
    threading.setprofile(_heard)
    sys.setprofile(_heard)
    try:
        return runtime.run(program)
    finally:
        sys.setprofile(None)
        threading.setprofile(before)


@contextmanager
def no_threads() -> Iterator[None]:
    """Inside the block no task starts a thread of the operating system."""
    thread = threading.get_ident()
    _exploring[thread] = _exploring.get(thread, 0) + 1
    if sum(_exploring.values()) == 1:
        threading.Thread.start = _start  # type: ignore[method-assign]
        _thread.start_new_thread = _start_new_thread
    try:
        yield
    finally:
        _exploring[thread] -= 1
        if not _exploring[thread]:
            del _exploring[thread]
        if not _exploring:
            threading.Thread.start = _real_start  # type: ignore[method-assign]
            _thread.start_new_thread = _STARTERS[0]


_real_start = threading.Thread.start


def _start(self: threading.Thread) -> None:
    """`threading.Thread.start` while something is explored."""
    if _is_task() and sys._getframe(1).f_code.co_filename != _ENGINE:
        _refuse(sys._getframe(1), f"starts a {type(self).__name__}", _INSTEAD["Thread"])
    _real_start(self)


def _start_new_thread(*args: Any, **kwargs: Any) -> int:
    """`_thread.start_new_thread` while something is explored."""
    if _is_task():
        _refuse(sys._getframe(1), "starts a thread", _INSTEAD["Thread"])
    return int(_STARTERS[0](*args, **kwargs))


def _is_task() -> bool:
    """The calling thread runs a task of an execution."""
    rt = active.runtime
    if rt is None:
        return False
    return rt.current is not OUTSIDE if rt.parallel else threading.get_ident() in _exploring


# The whole room, since a runtime is made of several modules, and `_main`, which calls the function of a task, is in
# one.
_RUNTIMES = os.path.join(_HERE, "runtimes", "")
_ENGINE = os.path.join(_RUNTIMES, "threads.py")
"""The one file that may start threads while something is explored: the threaded runtime, whose tasks are threads."""


def _heard(frame: FrameType, event: str, arg: Any) -> None:
    """The profile function: hears each call of Python code ("call") and of C code ("c_call").

    The locks themselves are C types, and those of `queue` and `threading` are seen by their methods' code.
    """
    if event == "c_call":
        owner = getattr(arg, "__self__", None)
        if type(owner) in _C_LOCKS:
            if arg.__name__ in _USES and _is_the_programs(frame, owner):
                kind = type(owner).__name__
                module = "queue" if kind == "SimpleQueue" else "threading"
                _refuse(frame, _words(module, kind, arg.__name__), _INSTEAD.get(kind, _QUEUE), arg.__name__)
        elif any(arg is starter for starter in _STARTERS) and _is_the_programs(frame, owner):
            _refuse(frame, f"calls {arg.__name__}()", _SPAWN)
    elif event == "call":
        code = frame.f_code
        if _kind_of(code) != _SYNCS or code.co_name not in _USES:
            return
        owner = frame.f_locals.get("self")
        if _is_the_programs(frame.f_back, owner):
            kind = type(owner).__name__
            bases = (base.__name__ for base in type(owner).__mro__)
            instead = next((_INSTEAD[name] for name in bases if name in _INSTEAD), _QUEUE)
            path = PurePath(code.co_filename)
            package = {"futures": "concurrent.futures", "multiprocessing": "multiprocessing"}.get(
                path.parent.name
            )
            what = _words(package or path.stem, kind, code.co_name)
            _refuse(frame.f_back, what, instead, code.co_name)


def _words(module: str, kind: str, call: str) -> str:
    return f"calls {kind}.{call}() of {module}"


def _kind_of(code: CodeType) -> int:
    """Whose code this is: the program's (_USER), glue, a class to synchronise by, or any other."""
    file = code.co_filename
    kind = _files.get(file)
    if kind is None:
        kind = _files[file] = _classified(file)
    return kind


def _classified(file: str) -> int:
    if file == _LOCKDEP_THREADS:
        return _SYNCS
    library = next((path for path in _LIBRARY if file.startswith(path)), None)
    if library is not None:
        inside = file[len(library) :]
        return _GLUES if inside in _GLUE else _SYNCS if inside in _SYNC else _OTHER
    # "<frozen importlib._bootstrap>" and "<sugarbush.concurrency.memory.shared>" are no programs; "<string>" and
    # the like, which a program has compiled itself, are.
    if file.startswith(_PACKAGES) or file.startswith(("<frozen", "<sugarbush")):
        return _OTHER
    return _USER


def _is_the_programs(frame: FrameType | None, owner: object) -> bool:
    """Whether the program made the call: a frame of its own did, or glue that such a frame has called."""
    while frame is not None and _kind_of(frame.f_code) == _GLUES:
        frame = frame.f_back
    if frame is None or active.runtime is None or not checked(CHECK):
        return False
    if frame.f_code.co_name == "_main" and frame.f_code.co_filename.startswith(_RUNTIMES):
        # Here a runtime calls the function of a task, which may be the very method: spawn(event.set). Otherwise the
        # call is the runtime's own.
        task = frame.f_locals.get("task")
        return owner is not None and getattr(getattr(task, "fn", None), "__self__", None) is owner
    return _kind_of(frame.f_code) == _USER


def _refuse(frame: FrameType | None, what: str, instead: str, call: str = "") -> None:
    """End the execution, and the exploration, with an error.

    The call is not made, so that the task does not wait in it for ever. A call that gives a lock back is made: the
    lock may be one that other parts of the process use later.
    """
    rt = active.runtime
    if rt is None or not checked(CHECK):
        return
    while frame is not None and _kind_of(frame.f_code) != _USER:
        frame = frame.f_back
    where = spell(None if frame is None else (frame.f_code, frame.f_lasti))
    error = ConcurrencyError(
        f"{rt.current.name} {what} at {where}, which is real, so nobody explores it: {instead} (or allow it: "
        f"without the check {CHECK!r})"
    )
    rt.give_up(error)
    if call not in _GIVES_BACK:
        raise error
