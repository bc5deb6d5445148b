"""Calls that block, made while a lock is held: sleep, sockets, subprocesses, file locks. Off unless asked for."""

from __future__ import annotations

import functools
import socket
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sugarbush.lockdep.model import resolve
from sugarbush.lockdep.python.patches import Patches
from sugarbush.lockdep.reports import ReportKind

if TYPE_CHECKING:
    from sugarbush.lockdep.python.program import Program

_CALLS: tuple[tuple[Any, str, str], ...] = (
    (time, "sleep", "sleeps"),
    (socket.socket, "connect", "connects a socket"),
    (socket.socket, "accept", "waits for a connection"),
    (socket.socket, "recv", "waits for a socket"),
    (socket.socket, "recv_into", "waits for a socket"),
    (socket.socket, "sendall", "waits for a socket"),
    (subprocess.Popen, "wait", "waits for a subprocess"),
    (subprocess.Popen, "communicate", "waits for a subprocess"),
)


def install(program: Program, patches: Patches) -> None:
    """Puts the hooks."""
    for owner, name, words in _CALLS:
        patches.wrap(owner, name, functools.partial(_around, program, words))
    try:
        import fcntl
    except ImportError:
        return
    for name in ("flock", "lockf"):
        patches.wrap(fcntl, name, functools.partial(_around, program, "waits for a file lock"))


def _around(program: Program, words: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if program.live:
            blocks(program, words)
        return real(*args, **kwargs)

    return call


def blocks(program: Program, words: str) -> None:
    """The running thread is about to block; a report if it holds a lock."""
    ctx = program.current()
    if not program.holds(ctx) or ctx.busy:
        return
    names = tuple(dict.fromkeys(entry[1].lock_class.title for entry in ctx.held))
    trace = program.lockdep.capture()
    site = resolve(trace.site)
    program.report(
        ctx,
        ReportKind.BLOCKING,
        f"{'|'.join(names)}|{words}|{site}",
        f"a thread {words} while it holds a lock",
        names,
        ((f"thread {ctx.comm!r} {words} here:", trace.resolve()),),
        ("Whoever wants the lock meanwhile waits as long.",),
    )
