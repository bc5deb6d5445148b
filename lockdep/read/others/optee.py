"""OP-TEE's lockdep: the shortest cycle as addresses, then for each step who took what after what, with two
stacks.
"""

from __future__ import annotations

import itertools
import re
from typing import ClassVar, Final

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.others.base import MOST, Dependency, OtherReading, circular

_PREFIX: Final = re.compile(r"^[EIDFM]/T[CA]:\S*(?: \d+)*\s+")
_CYCLE: Final = re.compile(r"\s*-> Shortest cycle:\s*(?P<first>.*)$")
_LOCK: Final = re.compile(r"(?:[Ll]ock )?(?P<lock>0x[0-9a-f]+)")
_ACQUIRED: Final = re.compile(r"\s*-> Thread (?P<by>\S+) acquired lock (?P<lock>0x[0-9a-f]+) at:?$")
_AFTER: Final = re.compile(r"\s*\.\.\.\s*after acquiring lock (?P<lock>0x[0-9a-f]+) at:?$")
_FRAME: Final = re.compile(
    r"\s*(?:#\d+ )?(?P<address>0x[0-9a-f]{6,16})(?: (?P<function>[\w.$]+)(?: at (?P<file>\S+):(?P<line>\d+))?)?"
)


class OpTee:
    """Finds what OP-TEE's mutex debugging says, and reads the cycle."""

    name: ClassVar[str] = "op-tee"
    parts: ClassVar[tuple[str, ...]] = ("Potential deadlock detected!",)

    @staticmethod
    def opened(text: str) -> OtherReading | None:
        """Give a reading if the line, without its prefix, is the headline."""
        line = _PREFIX.sub("", text.strip())
        return _OpTeeReading(line) if line == "Potential deadlock detected!" else None


class _OpTeeReading:
    def __init__(self, headline: str) -> None:
        self.done = False
        self._headline = headline
        self._cycle: list[str] = []
        self._in_cycle = False
        self._edges: list[Dependency] = []
        self._stack: list[Frame] | None = None
        self._foreign = self._lines = 0

    def feed(self, text: str) -> None:
        """Take a line: the locks of the cycle, or a step of it with the stacks of both locks."""
        self._lines += 1
        line = _PREFIX.sub("", text)
        found = _CYCLE.match(line)
        if found is not None:
            self._in_cycle = True
            self._cycle += [one["lock"] for one in _LOCK.finditer(found["first"])]
            return
        acquired, after = _ACQUIRED.match(line), _AFTER.match(line)
        if acquired is not None:
            self._in_cycle = False
            self._edges.append(Dependency("", acquired["lock"], acquired["by"]))
            self._stack = self._edges[-1].stack
        elif after is not None and self._edges:
            self._edges[-1].held = after["lock"]
            self._stack = self._edges[-1].before
        elif self._in_cycle and _LOCK.search(line):
            self._cycle += [one["lock"] for one in _LOCK.finditer(line)]
        elif (frame := _FRAME.match(line)) is not None and self._stack is not None:
            self._stack.append(
                Frame(frame["function"] or frame["address"], frame["file"] or "", int(frame["line"] or 0))
            )
        elif line.strip():
            self._foreign += 1
        self.done = self._foreign > 8 or self._lines > MOST

    def report(self, source: str, number: int) -> LogReport | None:
        """Give the cycle, also for steps whose stacks were not printed; None if there is neither."""
        edges = [edge for edge in self._edges if edge.held]
        if not self._cycle and not edges:
            return None
        ring = self._cycle
        if len(ring) > 2 and ring[0] == ring[-1]:
            known = {(edge.held, edge.wanted): edge for edge in edges}
            edges = [known.get(step) or Dependency(*step) for step in itertools.pairwise(ring)]
        return circular("op-tee", self._headline, edges, source, number)
