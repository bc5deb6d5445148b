"""ThreadSanitizer's ``lock-order-inversion`` and bcc's ``deadlock``, which copied its words (two stacks for
an edge).
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.others.base import MOST, Dependency, OtherReading, circular

_CYCLE: Final = re.compile(r"\s*Cycle in lock order graph: (?P<cycle>(?:Mutex )?M\d+.*)$")
_ACQUIRED: Final = re.compile(
    r"\s*Mutex (?P<wanted>M\d+)(?: \((?P<wname>[^)]*)\))? acquired here while holding [Mm]utex (?P<held>M\d+)"
    r"(?: \((?P<hname>[^)]*)\))?(?: in (?:the )?(?P<by>.*?))?:$"
)
_PREVIOUS: Final = re.compile(
    r"\s*Mutex (?P<lock>M\d+)(?: \([^)]*\))? previously acquired by the same .*here:$"
)
_FRAME: Final = re.compile(
    r"\s*#\d+ (?P<function>.+?) (?:<null>|(?P<file>[^\s:()]+)(?::(?P<line>\d+)(?::\d+)?)?) "
    r"?(?:\(.*\))?$|\s*#\d+ (?P<bare>\S+)$"
)
_AT: Final = re.compile(r"\s*@ (?:[0-9a-f]{8,16}) (?P<function>.+)$")
_MEMBER: Final = re.compile(r"(?:Mutex )?(?P<lock>M\d+)(?: \((?P<name>[^)]*)\))?")
_LIBRARY: Final = re.compile(
    r"^(?:pthread_|__gthread_|__interceptor|std::|___?pthread|absl::|folly::|boost::)|^(?:lock|mutex_lock)$"
)


class Tsan:
    """Finds both reports, and reads the cycle with the stacks of each step."""

    name: ClassVar[str] = "tsan"
    parts: ClassVar[tuple[str, ...]] = (
        "lock-order-inversion",
        "Potential Deadlock Detected",
        "Cycle in lock order graph",
    )

    @staticmethod
    def opened(text: str) -> OtherReading | None:
        """Give a reading if the line is the headline of one of the two."""
        line = text.strip()
        if line.startswith("WARNING: ThreadSanitizer: lock-order-inversion"):
            return _TsanReading("tsan", line)
        if line == "Potential Deadlock Detected!":
            return _TsanReading("bcc-deadlock", line)
        return None


class _TsanReading:
    def __init__(self, reporter: str, headline: str) -> None:
        self.done = False
        self._reporter, self._headline = reporter, headline
        self._cycle: list[str] = []
        self._edges: list[Dependency] = []
        self._names: dict[str, str] = {}
        self._stack: list[Frame] | None = None
        self._lines = 0

    def feed(self, text: str) -> None:
        """Take a line: the cycle, or the stacks of a step; what was made where is passed over."""
        self._lines += 1
        if self._lines > MOST or text.startswith(("SUMMARY: ThreadSanitizer", "=" * 18)):
            self.done = True
            return
        found = _ACQUIRED.match(text)
        if found is not None:
            self._edges.append(Dependency(found["held"], found["wanted"], found["by"] or ""))
            self._stack = self._edges[-1].stack
            self._name(found["held"], found["hname"])
            self._name(found["wanted"], found["wname"])
            return
        if _PREVIOUS.match(text):
            self._stack = self._edges[-1].before if self._edges else None
            return
        cycle = _CYCLE.match(text)
        if cycle is not None:
            members = [_MEMBER.match(one.strip()) for one in cycle["cycle"].split("=>")]
            self._cycle = [one["lock"] for one in members if one is not None]
            for one in members:
                if one is not None:
                    self._name(one["lock"], one["name"])
            return
        frame = _frame(text)
        if frame is not None and self._stack is not None:
            self._stack.append(frame)
        elif not text.strip():
            pass
        elif frame is None and not text.strip().startswith("Hint:"):
            # Of where a mutex or a thread was made: no part of an edge.
            self._stack = None

    def _name(self, lock: str, described: str | None) -> None:
        """Bcc says ``symbol 0xaddress`` where it knows the symbol; an address alone is no name."""
        symbol = (described or "").partition(" 0x")[0]
        if symbol and not symbol.startswith("0x"):
            self._names[lock] = symbol

    def report(self, source: str, number: int) -> LogReport | None:
        """Give the cycle if the steps that were read are the printed ones, else what there is of it as incomplete."""
        if not self._cycle and not self._edges:
            return None
        edges = self._edges
        if self._cycle and self._cycle[0] == self._cycle[-1]:
            ring = list(zip(self._cycle, self._cycle[1:], strict=False))
            known = {(edge.held, edge.wanted): edge for edge in edges}
            if set(ring) != set(known):
                # A step without its stack, or one of another report: the circle that was printed is not
                # vouched for.
                edges = [edge for edge in edges if (edge.held, edge.wanted) in ring][: max(len(ring) - 1, 1)]
            else:
                edges = [known[step] for step in ring]
        else:
            edges = edges[:1]
        return circular(self._reporter, self._headline, edges, source, number, names=self._names)


def _frame(text: str) -> Frame | None:
    at = _AT.match(text)
    if at is not None:
        return Frame(_short(at["function"].strip()), "", 0)
    found = _FRAME.match(text)
    if found is None:
        return None
    function = found["function"] or found["bare"]
    return Frame(_short(function), found["file"] or "", int(found["line"] or 0))


def _short(function: str) -> str:
    """The function without its arguments; those of libraries are said to be primitives, as the kernel's are."""
    name = function.partition("(")[0].strip() if not function.startswith("(") else function
    return f"mutex_lock[{name}]" if _LIBRARY.match(name) else name
