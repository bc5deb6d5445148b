"""What an execution can show, and what can be wrong with a request.

A `Failure` is a finding about the program under test. A `ConcurrencyError` is a mistake in how Sugarbush is used.
"""

from __future__ import annotations

import re
import traceback
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from sugarbush.lockdep.outside import SugarbushError, spelt

_DEEPEST = 32
"""How many frames of an uncaught exception a report shows: the innermost ones."""
_PLACE = re.compile(r" at [^ ]+\.py:[0-9]+")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+>")
"""The address in a default repr(), which is another one in each process: with it no two reports would be the same."""

_TASK_NUMBER = re.compile(r"(?<=\S)#[0-9]+")
"""What tells tasks of one name apart (`task.own_name`)."""
_NUMBER = re.compile(r"(?<!\.py:)(?<![0-9])(?:0x[0-9a-fA-F]+|[0-9]+)")
"""A number that is not that of a line."""


class Kind(StrEnum):
    """The kinds of failure that an execution can end in."""

    BUG_ON = "bug-on"
    CHECK = "check"
    INVARIANT = "invariant"
    CORRUPTION = "corruption"
    DATA_RACE = "data-race"
    UNINIT = "uninit"
    USE_AFTER_FREE = "use-after-free"
    DOUBLE_FREE = "double-free"
    LEAK = "leak"
    DEADLOCK = "deadlock"
    LOCKDEP = "lockdep"
    RCU = "rcu"
    EXCEPTION = "exception"
    LIVELOCK = "livelock"
    STARVATION = "starvation"
    STALL = "stall"


_ABOUT_TASKS = frozenset({Kind.DEADLOCK, Kind.LIVELOCK, Kind.STARVATION, Kind.STALL})
"""The kinds whose headlines are the engine's own words about tasks, also where no check has a name (a deadlock)."""


class Failure(Exception):
    """The program under test broke a rule.

    `headline` is one line in the kernel's words where the kernel has them. `detail` is the longer report, ready to
    print. `check` names the check that found it, as `--without` takes it; None if it cannot be switched off. `task`
    is the name of the task that showed it, `step` the number of the operation at which it did (both filled in by
    the runtime).
    """

    # An `Exception`, so that it unwinds the task like one. A program that catches it has not undone it: the runtime
    # has noted the failure before (`Runtime.stop`), and every further operation of any task raises `TaskKilled`.

    def __init__(self, kind: Kind, headline: str, detail: str = "", check: str | None = None) -> None:
        super().__init__(headline)
        self.kind = kind
        self.headline = headline
        self.detail = detail
        self.check = check
        self.task = ""
        self.step = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """A failure can be sent to another process; its cause stays behind."""
        state = {"task": self.task, "step": self.step}
        return type(self), (self.kind, self.headline, self.detail, self.check), state

    @property
    def signature(self) -> tuple[str, str, str, int]:
        """What two executions of one schedule must agree on to have shown the same failure at the same step."""
        return (self.kind.value, self.headline, self.task, self.step)


def without_places(headline: str) -> str:
    """The headline without places in the code, so that it can be compared with that of another version of the program.

    >>> without_places("BUG: KASAN: slab-use-after-free in node.slots by reader at tree/core/node.py:97")
    'BUG: KASAN: slab-use-after-free in node.slots by reader'
    """
    return _PLACE.sub("", headline)


def same_failure(one: Failure | None, other: Failure) -> bool:
    """Whether the two are one finding: kind, check and headline agree; task and step may differ.

    In the headline of a check that has a name, numbers may differ too, except those of lines: they say which page,
    object or which of several tasks that do the same it was, and the bug shows itself on any of them. A headline
    without such a name may be the program's own words, where a number may tell one condition from another.

    >>> leak = Failure(Kind.LEAK, "leak: 2 of node never freed", check="leak")
    >>> same_failure(leak, Failure(Kind.LEAK, "leak: 5 of node never freed", check="leak"))
    True
    >>> own = Failure(Kind.CHECK, "check failed: slot 2 is empty")
    >>> same_failure(own, Failure(Kind.CHECK, "check failed: slot 5 is empty"))
    False
    """
    if one is None or one.kind is not other.kind or one.check != other.check:
        return False
    mine, others = one.headline, other.headline
    if one.check is not None or one.kind in _ABOUT_TASKS:
        # Which of several tasks that do the same it was is chance: `deposit` and `deposit#3` are one finding.
        mine, others = _TASK_NUMBER.sub("", mine), _TASK_NUMBER.sub("", others)
    if one.check is None:
        return mine == others
    return _NUMBER.sub("N", mine) == _NUMBER.sub("N", others)


def uncaught(error: BaseException, by: str | None = None) -> Failure:
    """The failure of a task that raised `error`; the detail has its stack, innermost first.

    `by` names the check (the observer) that raised it, if it was one.
    """
    stack = [
        f"{frame.name} at {'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__, limit=-_DEEPEST))
    ]
    words = _ADDRESS.sub(">", spelt(error))
    # CPython adds to some of these where it happened ("... while calling a Python object"), and that depends on how
    # deep the stack is, which differs between a run with a recorder and one without.
    if isinstance(error, RecursionError):
        words = "RecursionError: maximum recursion depth exceeded"
    failure = Failure(
        Kind.EXCEPTION, words if by is None else f"the check {by} raised {words}", "\n".join(stack)
    )
    failure.__cause__ = error
    return failure


def ran_too_deep(failure: Failure | None) -> bool:
    """Whether the failure is that a task has ended in a RecursionError."""
    return failure is not None and isinstance(failure.__cause__, RecursionError)


class TaskKilled(BaseException):
    """Unwinds a task whose execution has ended, so that its `finally` blocks run. Programs must not catch it."""

    # A BaseException, so that ``except Exception`` in a program does not stop the unwinding.


class ConcurrencyError(SugarbushError):
    """Sugarbush was asked for something that it cannot do; the message says what and what to do instead."""


class WouldBlock(ConcurrencyError):
    """An operation would wait although nothing else runs, so it would wait for ever."""


class OutOfTime(ConcurrencyError):
    """The budget of seconds has ended within an execution, which is given up: it counts for nothing."""


class BadSchedule(ConcurrencyError):
    """A schedule is not readable, or it does not fit the program: it was made of another program or version."""
