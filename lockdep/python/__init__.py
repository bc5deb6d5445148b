"""Lock order of ordinary threaded Python programs, with no change to their source.

    import sugarbush.lockdep.python
    program = lockdep.python.install()     # from here on all locks of the process are watched
    ...
    program.failures                       # what was found; each was written to standard error at once

The program behaves as before: the same exceptions, the same order of destruction, locks with all their methods. What
is reported are waits that *can* end in a deadlock, though in this run nothing hung.

Who lives here: `locks` and `relocks` (what stands for a lock), `factories` (what stands for `threading.Lock`), `adopt`
(locks made before), `sites` (classes by place, named by owner), `context` (threads and stretches of their
work), `places` (known ways to hold locks), `watcher` and `program` (from lock to validator), `plain`,
`validator` and `instances` (the rules, and where they differ from the kernel's), `stdlib` and `waits` (waits
that are no locks), `interrupts` (collector, signals, hooks), `semaphores`, `aio` and `blocking` (what else is
watched), `patches` and `late` (hooks, also in modules that are loaded later), `told` and `formats` (reports
in words and for machines), `hang` (who waits for whom), `runner` (``sugarbush lockdep run``), `plugin` and
`watching` (``pytest --lockdep``), `shared_graph` (several processes as one).
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable

from sugarbush.lockdep.python import aio, interrupts, semaphores, stdlib
from sugarbush.lockdep.python import blocking as blocking_calls
from sugarbush.lockdep.python.adopt import Adopter
from sugarbush.lockdep.python.factories import Current, WatchedLock, WatchedRLock
from sugarbush.lockdep.python.formats import save
from sugarbush.lockdep.python.late import LateHooks
from sugarbush.lockdep.python.patches import Patches
from sugarbush.lockdep.python.program import Program, write
from sugarbush.lockdep.python.wording import tell
from sugarbush.lockdep.reports import Report

__all__ = ["Program", "install", "installed", "tell", "uninstall"]


class _Installed:
    patches: Patches | None = None
    interrupts: interrupts.Interrupts | None = None
    late: LateHooks | None = None


def install(
    on_report: Callable[[Report], None] | None = None,
    *,
    kernel: bool = False,
    show: bool = True,
    adopt: bool = True,
    blocking: bool = False,
) -> Program:
    """Watches all locks of the process from now on; a second call gives the program of the first.

    `on_report` gets each new failure in the thread that caused it. `show` writes reports to standard error at once, in
    Python's words or, with `kernel`, in the kernel's shape. `adopt` watches locks that modules and objects
    have already. With `blocking`, calls that block (sleep, socket, subprocess) under a lock are reported.
    """
    if Current.program is not None:
        return Current.program
    program = Program(on_report, kernel=kernel, show=show)
    program.current()
    patches = Patches()
    adopter = Adopter(program, patches)
    Current.program = program
    patches.put(threading, "Lock", WatchedLock)
    patches.put(threading, "RLock", WatchedRLock)
    if adopt:
        adopter.modules()
        adopter.objects()
    stdlib.install(program, patches)
    late = _Installed.late = LateHooks()
    semaphores.install(program, patches, late)
    aio.install(program, patches, late)
    if blocking:
        blocking_calls.install(program, patches)
    _Installed.interrupts = interrupts.Interrupts(program, patches)
    _Installed.patches = patches
    with contextlib.suppress(RuntimeError):
        # Not when the interpreter is at its end already. What is registered there stays, so it must keep nothing.
        threading._register_atexit(_main_ends, weakref.ref(program))  # type: ignore[attr-defined]
    return program


def _main_ends(reference: weakref.ref[Program]) -> None:
    program = reference()
    if program is not None and program.live:
        program.main_ends()


def installed() -> Program | None:
    """The program that is watched; None for none."""
    return Current.program


def uninstall() -> None:
    """Watches no more. Locks that were made meanwhile go on as locks."""
    program = Current.program
    if program is None:
        return
    program.live = False
    Current.program = None
    for ctx in list(program.contexts.values()):
        ctx.slow = True
    if _Installed.late is not None:
        _Installed.late.undo()
    if _Installed.interrupts is not None:
        _Installed.interrupts.undo()
    if _Installed.patches is not None:
        _Installed.patches.undo()
    _Installed.interrupts = _Installed.patches = _Installed.late = None


__all__ = [
    "save",
    "write",
]
