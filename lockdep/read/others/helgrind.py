"""Valgrind's Helgrind: ``lock order "A before B" violated``, with the stacks of both orders."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.others.base import MOST, Dependency, OtherReading, circular

_PREFIX: Final = re.compile(r"^==\d+== ?")
_OPENS: Final = re.compile(
    r"(?P<by>Thread #\d+): lock order \"(?P<first>0x[0-9A-Fa-f]+) before (?P<second>0x[0-9A-Fa-f]+)\" violated$"
)
_ACQUIRED: Final = re.compile(r".*\bacquisition of lock at (?P<lock>0x[0-9A-Fa-f]+)$")
_SYMBOL: Final = re.compile(
    r"\s*Address (?P<lock>0x[0-9a-fA-F]+) is \d+ bytes inside (?:data symbol|.*?) \"?(?P<name>[\w:.\[\]]+)\"?"
)
_FRAME: Final = re.compile(
    r"\s+(?:at|by) 0x[0-9A-F]+: (?P<function>.+?) \((?:in (?P<object>\S+)|(?P<file>[^():]+):(?P<line>\d+))\)$"
)


class Helgrind:
    """Finds an order that was violated, and reads the stacks of both."""

    name: ClassVar[str] = "helgrind"
    parts: ClassVar[tuple[str, ...]] = ('" violated',)

    @staticmethod
    def opened(text: str) -> OtherReading | None:
        """Give a reading if the line, without its prefix, names the two locks of a violated order."""
        found = _OPENS.match(_PREFIX.sub("", text.strip()))
        return _HelgrindReading(found) if found else None


class _HelgrindReading:
    def __init__(self, found: re.Match[str]) -> None:
        self.done = False
        self._headline = found[0]
        first, second = found["first"].lower(), found["second"].lower()
        # Required: first, then second. Observed now: second, then first.
        self._new = Dependency(second, first, found["by"])
        self._old = Dependency(first, second)
        self._names: dict[str, str] = {}
        self._stack: list[Frame] | None = None
        self._is_old = False
        self._seen: list[str] = []
        self._lines = 0

    def feed(self, text: str) -> None:
        """Take a line: an acquisition, of the order observed or of the one required, or a frame of its stack."""
        self._lines += 1
        line = _PREFIX.sub("", text)
        acquired = _ACQUIRED.match(line)
        if line.startswith("Required order"):
            self._is_old = True
        if acquired is not None:
            lock = acquired["lock"].lower()
            edge = self._old if self._is_old else self._new
            self._seen.append(lock)
            self._stack = edge.before if "followed by" not in line else edge.stack
        elif (symbol := _SYMBOL.match(line)) is not None:
            self._names[symbol["lock"].lower()] = symbol["name"]
        elif (frame := _FRAME.match(line)) is not None and self._stack is not None:
            name = frame["function"]
            shown = f"mutex_lock[{name}]" if re.match(r"pthread_|mutex_lock|.*_WRK$|std::", name) else name
            self._stack.append(Frame(shown, frame["file"] or "", int(frame["line"] or 0)))
        elif line.strip() and "was first observed" in line:
            self._stack = None
        elif re.match(r"Thread #\d+: |-{20}|ERROR SUMMARY", line) and self._lines > 1:
            self.done = bool(self._seen)
        self.done = self.done or self._lines > MOST

    def report(self, source: str, number: int) -> LogReport | None:
        """Give the two orders, or the observed one alone where no stack was printed."""
        # A lock without a symbol is told by who takes it: without the stacks of both orders there is nothing
        # to compare.
        edges = [edge for edge in (self._old, self._new) if edge.stack] or [self._new]
        return circular("helgrind", self._headline, edges, source, number, names=self._names)
