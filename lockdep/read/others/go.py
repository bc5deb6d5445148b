"""Go's ``all goroutines are asleep``: who waits where. It does not say for whom, so there is no circle."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from sugarbush.lockdep.model import Frame, ReportKind
from sugarbush.lockdep.read.model import NOBODY, LogReport
from sugarbush.lockdep.read.others.base import MOST, OtherReading
from sugarbush.lockdep.reports import UsageTrace

_OPENS: Final = "fatal error: all goroutines are asleep - deadlock!"
_ROUTINE: Final = re.compile(
    r"goroutine (?P<number>\d+)(?: gp=\S+ m=\S+(?: mp=\S+)?)? \[(?P<state>[^\]]+)\]:$"
)
_FUNCTION: Final = re.compile(r"(?P<function>[\w./*()\-]+(?:\.func\d+)*)\((?:.*)\)$")
_PLACE: Final = re.compile(r"\s+(?P<file>\S+):(?P<line>\d+)(?: \+0x[0-9a-f]+)?$")


class Go:
    """Finds a Go program that ended since nobody could go on, and reads its dump."""

    name: ClassVar[str] = "go"
    parts: ClassVar[tuple[str, ...]] = ("all goroutines are asleep",)

    @staticmethod
    def opened(text: str) -> OtherReading | None:
        """Give a reading if the line is the fatal error itself, which stands above the dump of all goroutines."""
        return _GoReading() if text.strip() == _OPENS else None


class _GoReading:
    def __init__(self) -> None:
        self.done = False
        self._routines: list[tuple[str, str, list[Frame]]] = []
        self._function = ""
        self._lines = 0

    def feed(self, text: str) -> None:
        """Take a line: a goroutine's head, or one of its frames, whose function and place stand on two lines."""
        self._lines += 1
        routine = _ROUTINE.match(text.strip())
        place = _PLACE.match(text)
        if routine is not None:
            self._routines.append((routine["number"], routine["state"], []))
        elif place is not None and self._function and self._routines:
            name = self._function
            shown = f"mutex_lock[{name}]" if name.startswith(("sync.", "runtime.", "internal/")) else name
            self._routines[-1][2].append(Frame(shown, place["file"], int(place["line"])))
            self._function = ""
        elif text.startswith("exit status"):
            self.done = True
        else:
            found = _FUNCTION.match(text.strip().removeprefix("created by "))
            self._function = found["function"] if found else ""
        self.done = self.done or self._lines > MOST

    def report(self, source: str, number: int) -> LogReport | None:
        """Give the goroutines that wait, each with its stack; None if the dump names none."""
        if not self._routines:
            return None
        stacks = [tuple(stack) for _, _, stack in self._routines]
        first = next((frame for frame in stacks[0] if not frame.function.startswith("mutex_lock[")), None)
        return LogReport(
            kind=ReportKind.HUNG,
            headline=_OPENS,
            key="",
            title=f"all goroutines are asleep in {first.function}" if first else "all goroutines are asleep",
            task=NOBODY,
            held=(),
            stack=stacks[0],
            usages=tuple(
                UsageTrace(f"goroutine {name} [{state}]", tuple(stack), f"goroutine {name}")
                for name, state, stack in self._routines[1:]
            ),
            complete=True,
            message="; ".join(sorted({f"{state} in {_own(stack)}" for _, state, stack in self._routines})),
            source=source,
            line=number,
            reporter="go",
        )


def _own(stack: list[Frame]) -> str:
    return next((frame.function for frame in stack if not frame.function.startswith("mutex_lock[")), "?")
