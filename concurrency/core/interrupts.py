"""Exceptions that come from outside of a task: Ctrl-C, a handler of a signal, a test that is skipped.

What a task raises is its own failure, `SystemExit` and `KeyboardInterrupt` included: a program that exits has not been
explored to its end. What a signal raises while a task happens to run is none of the program's doing.
"""

from __future__ import annotations

import dis
import signal
from types import CodeType, TracebackType

from sugarbush.concurrency.core.unrun import code_of

_RAISES = (dis.opmap["RAISE_VARARGS"], dis.opmap["RERAISE"])

no_failures: list[type[BaseException]] = []
"""Exceptions by which a program speaks to whoever explores it; the pytest plugin adds those of ``pytest.skip()``."""


def from_outside(error: BaseException) -> bool:
    """Whether `error` was not raised by what the task does, so that it ends the exploration, not the execution.

    A handler of a signal runs on top of whatever the thread does at the moment. A handler that is a Python function
    has a frame in the traceback. Python's own handler for Ctrl-C has none: its exception appears at an instruction
    that raises nothing, where the interpreter looks for signals, while a task's ``raise KeyboardInterrupt`` appears
    at a ``raise``.
    """
    # Interrupts do not derive from Exception; what does is always the program's own.
    if isinstance(error, Exception):
        return False
    if isinstance(error, tuple(no_failures)):
        return True
    handlers = _handlers()
    last: TracebackType | None = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        last, trace = trace, trace.tb_next
    if isinstance(error, KeyboardInterrupt) and last is not None and not _raises(last):
        return True
    # A program that catches Ctrl-C and calls sys.exit() has been interrupted all the same.
    return error.__context__ is not None and from_outside(error.__context__)


def _raises(trace: TracebackType) -> bool:
    """Whether the instruction at which `trace` ends is a ``raise``."""
    # tb_lasti counts bytes. co_code has the instructions as they were compiled; the interpreter replaces some by
    # others as it goes (PEP 659), and those have no names in `dis.opmap`.
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] in _RAISES


def _handlers() -> set[CodeType]:
    """The code of all functions that handle signals now."""
    return {
        code for number in signal.valid_signals() if (code := code_of(signal.getsignal(number))) is not None
    }
