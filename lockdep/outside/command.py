"""How a command ends: the one place that gives exit statuses, and that says why in one line.

0 nothing found, 1 a failure was found, 2 unusable input, 70 a mistake of Sugarbush's own (EX_SOFTWARE of sysexits.h),
130 interrupted, 141 nobody reads what is printed. Scripts believe a 1: whatever else goes wrong must never end in it,
and Python's own status for an exception that nobody caught is just that.
"""

from __future__ import annotations

import codecs
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sugarbush.lockdep.outside.errors import SugarbushError, spelt
from sugarbush.lockdep.outside.files import reason

UNUSABLE = 2
MISTAKE = 70
INTERRUPTED = 130
UNREAD = 128 + 13
_LONGEST = 2000
_ERRORS = "sugarbush"


def ended(
    name: str,
    command: Callable[[], int],
    is_usage: Callable[[BaseException], str | None] = lambda _: None,
    place_of: Callable[[BaseException], str | None] = lambda _: None,
) -> int:
    """Run `command` and give the exit status; `name` begins what is said.

    `is_usage` gives what to say of an error that a library raises for wrong arguments. `place_of` gives the place in a
    file of the user's own at which an error was raised: then it is that file's, not ours.
    """
    _prepare()
    status = 0
    try:
        status = command()
        _flush()
    except SugarbushError as error:
        return complain(name, str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException as error:
        if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
            # Rich, which prints tables, turns the one into a SystemExit.
            _stop_printing()
            return UNREAD
        usage = is_usage(error)
        if usage is not None:
            return complain(name, usage)
        place = place_of(error)
        if place is not None:
            return complain(name, f"{place}: {spelt(error)}")
        if isinstance(error, OSError):
            _stop_printing()
            complain(name, f"{error.filename or 'what is printed cannot be written'}: {reason(error)}")
            # Where that happened while the last of it was printed, what was found has been found.
            return status or UNUSABLE
        if isinstance(error, MemoryError):
            return complain(name, "there is not enough memory for this: ask for less")
        with suppress(OSError):
            traceback.print_exception(error)
        complain(name, "this is a mistake of Sugarbush's own: please report it, with what stands above")
        return MISTAKE
    return status


def complain(name: str, message: str) -> int:
    """Say in one line why nothing can be done, and give the exit status of that."""
    line = " ".join(message.split())
    # What is repeated of somebody's input may move the cursor, or colour what comes after it.
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line[:_LONGEST])
    # The terminal may be gone, or standard error closed; the status says it, too.
    with suppress(OSError, ValueError, AttributeError):
        print(f"{name}: {line}", file=sys.stderr, flush=True)
    return UNUSABLE


def hear_signals() -> None:
    """From now on SIGTERM and SIGHUP (a terminal that is closed) interrupt as Ctrl-C does: what was found is saved."""
    if threading.current_thread() is not threading.main_thread():
        return
    _asked.clear()
    for number in _ENDINGS:
        # nohup has SIGHUP ignored, and means it.
        if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


_asked: list[int] = []


def _interrupt(number: int, _frame: object) -> None:
    # A service manager sends the two one after the other; the second must not cut short what the first has begun. The
    # handler stays: `concurrency.core.interrupts` knows by it that the exception is none of the program's.
    _asked.append(number)
    if len(_asked) == 1:
        raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put off interrupts to the end of the block: what is being saved is saved, and known to be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDINGS)}
    # Not the mask of signals: another thread may take one, and its handler runs in this thread all the same.
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, lambda number, _frame: heard.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


def _prepare() -> None:
    """Whatever is printed can be printed: names of files that are not UTF-8, arrows where the terminal has none."""
    codecs.register_error(_ERRORS, _unencodable)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by the caller: what is printed goes nowhere, as it wishes.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open for good
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def _unencodable(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    try:
        # The bytes of the name of a file, as they are: the line can be copied.
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _flush() -> None:
    """Write out what is buffered: the interpreter does it at its end, too late for a failure to be reported."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _stop_printing() -> None:
    """What is printed from here on goes nowhere; else the interpreter tries again, and complains, when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
