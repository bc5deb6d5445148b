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
"""How many frames of an uncaught exception a report shows."""
_PLACE = re.compile(r" at [^ ]+\.py:[0-9]+")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+>")
"""What a default repr() says about where an object lies, which is another place each time."""

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
"""The kinds whose headlines are the engine's own words about tasks, whether or not they can be switched off."""


class Failure(Exception):
    """The program under test broke a rule.

    `headline` is one line in the kernel's words where the kernel has them. `detail` is the longer report, ready to
    print. `check` names the check that found it, as `--without` takes it; None if it cannot be switched off. `task`
    is the name of the task that showed it, `step` the number of the operation at which it did (both filled in by
    the runtime).
    """

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
        """What two executions must agree on to have shown the same failure at the same step."""
        return (self.kind.value, self.headline, self.task, self.step)


def without_places(headline: str) -> str:
    """The headline without where in the code it was, which another version of the same program may have elsewhere.

    >>> without_places("BUG: KASAN: slab-use-after-free in node.slots by reader at tree/core/node.py:97")
    'BUG: KASAN: slab-use-after-free in node.slots by reader'
    """
    return _PLACE.sub("", headline)


def same_failure(one: Failure | None, other: Failure) -> bool:
    """The two are one finding: kind, check and headline agree; task and step may differ.

    In the headline of a check that has a name the numbers may differ too, but for those of lines: they say which page,
    object or one of several alike tasks it was, and the bug shows itself on another one as well. Words without such a
    name may be somebody's own, with a number that tells one condition from another.
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

    `by` names the check that raised it, if it was one. How deep a recursion was is not in the words: that differs
    between a run with and one without a recorder.
    """
    stack = [
        f"{frame.name} at {'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__, limit=-_DEEPEST))
    ]
    words = _ADDRESS.sub(">", spelt(error))
    if isinstance(error, RecursionError):
        words = "RecursionError: maximum recursion depth exceeded"
    failure = Failure(
        Kind.EXCEPTION, words if by is None else f"the check {by} raised {words}", "\n".join(stack)
    )
    failure.__cause__ = error
    return failure


def ran_too_deep(failure: Failure | None) -> bool:
    """A task has ended in a RecursionError."""
    return failure is not None and isinstance(failure.__cause__, RecursionError)


class TaskKilled(BaseException):
    """Unwinds a task whose execution has ended; never caught by programs."""


class ConcurrencyError(SugarbushError):
    """Sugarbush was asked for something that it cannot do; the message says what and what to do instead."""


class WouldBlock(ConcurrencyError):
    """An operation would wait although nothing else runs, so it would wait for ever."""


class OutOfTime(ConcurrencyError):
    """The budget of seconds has ended within an execution, which is given up: it counts for nothing."""


class BadSchedule(ConcurrencyError):
    """A schedule is not readable, or it does not fit the program."""
