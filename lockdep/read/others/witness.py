"""``witness`` of FreeBSD, OpenBSD and NetBSD's kin: ``lock order reversal:`` with the lock that is held and
the one wanted.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.others.base import MOST, Dependency, OtherReading, circular

_OPENS: Final = re.compile(
    r"(?:witness: )?lock order reversal:(?: \([^)]*\))?$|acquiring duplicate lock of same type: .*$"
)
_NUMBERED: Final = re.compile(
    r"\s*(?P<which>1st|2nd|3rd) (?:0x)?[0-9a-fx]+ (?P<name>.+?)(?: "
    r"\((?P<type>[^()]*(?:\([^)]*\))?[^()]*)\))?(?: @ (?P<file>\S+):(?P<line>\d+))?$"
)
_ORDER: Final = re.compile(
    r"\s*lock order \"?(?P<held>.+?)\"?(?:\([\w ]+\))? -> \"?(?P<wanted>.+?)\"?(?:\([\w ]+\))? "
    r"(?P<how>first seen|established|attempted)(?: at)?:?$"
)
_FRAME: Final = re.compile(r"\s*#\d+\s+(?:0x[0-9a-f]+ at )?(?P<function>[\w.]+)(?:\+0x[0-9a-f]+)?")
_OLD: Final = re.compile(r"\s*(?P<function>[\w.]+)\(.*\) at (?P=function)\+0x[0-9a-f]+")


class Witness:
    """Finds a reversal, and reads the two locks and the orders that were seen."""

    name: ClassVar[str] = "witness"
    parts: ClassVar[tuple[str, ...]] = ("lock order reversal:",)

    @staticmethod
    def opened(text: str) -> OtherReading | None:
        """Give a reading if the line is one of the two headlines."""
        return _WitnessReading(text.strip()) if _OPENS.match(text.strip()) else None


class _WitnessReading:
    def __init__(self, headline: str) -> None:
        self.done = False
        self._headline = headline
        self._locks: dict[str, tuple[str, Frame | None]] = {}
        self._orders: list[tuple[str, str, list[Frame]]] = []
        self._stack: list[Frame] | None = None
        self._closing: list[Frame] = []
        self._foreign = 0
        self._lines = 0

    def feed(self, text: str) -> None:
        """Take a line: one of the two locks, an order with its stack, or the stack at the end."""
        self._lines += 1
        numbered = _NUMBERED.match(text)
        if numbered is not None:
            place = Frame("", numbered["file"], int(numbered["line"])) if numbered["file"] else None
            # OpenBSD prints the kind first and the name in parentheses; FreeBSD the name twice.
            name = numbered["name"]
            inner = (numbered["type"] or "").partition(",")[0]
            self._locks[numbered["which"]] = (inner if inner.startswith("&") else name, place)
            self._foreign = 0
            return
        order = _ORDER.match(text)
        if order is not None:
            self._stack = []
            self._orders.append((order["held"], order["wanted"], self._stack))
            self._foreign = 0
            return
        if text.strip().rstrip(":") in ("stack backtrace", "KDB: stack backtrace"):
            self._stack = self._closing
            return
        frame = _FRAME.match(text) or _OLD.match(text)
        if frame is not None and self._stack is not None:
            self._stack.append(Frame(frame["function"], "", 0))
            self._foreign = 0
        elif text.strip():
            self._foreign += 1
            self.done = self._foreign > 6
        self.done = self.done or self._lines > MOST

    def report(self, source: str, number: int) -> LogReport | None:
        """Give the two orders; None if not both locks were named."""
        if "1st" not in self._locks or "2nd" not in self._locks:
            return None
        held, wanted = self._locks["1st"][0], self._locks["2nd"][0]
        new = Dependency(held, wanted, "", list(self._closing))
        old = Dependency(wanted, held)
        for before, after, stack in self._orders:
            if (before, after) == (held, wanted):
                new.stack = new.stack or stack
            elif (before, after) == (wanted, held):
                old.stack = stack
        place = self._locks["2nd"][1]
        if place is not None and not new.stack:
            new.stack = [Frame(_base(place.file), place.file, place.line)]
        # That the other order was seen is what the reporter says by its headline, also where it prints no
        # stack of it.
        return circular("witness", self._headline, [old, new], source, number)


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]
