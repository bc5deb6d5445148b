"""A thread dump of Java that has found deadlocks: who waits for what, and who holds it."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.others.base import MOST, Dependency, OtherReading, circular

_OPENS: Final = re.compile(r"Found (?:one|a|\d+) Java-level deadlock:?$")
_THREAD: Final = re.compile(r"\"(?P<name>.*)\":$")
_WAITS: Final = re.compile(
    r"\s+waiting (?:to lock monitor (?P<monitor>0x[0-9a-f]+)(?: \(object (?P<object>0x[0-9a-f]+), "
    r"an? (?P<class>[\w.$\[\];]+)\))?"
    r"|for ownable synchronizer (?P<owned>0x[0-9a-f]+), \(an? (?P<owned_class>[\w.$]+)\)|to lock .*),?$"
)
_HELD_BY: Final = re.compile(r"\s*which is held by \"(?P<name>.*)\"$")
_FRAME: Final = re.compile(r"\s+at (?P<function>[\w.$<>/]+)\((?P<place>[^)]*)\)$")


class Java:
    """Finds what the JVM says of deadlocks in a thread dump, and reads who waits for whom."""

    name: ClassVar[str] = "java"
    parts: ClassVar[tuple[str, ...]] = ("Java-level deadlock",)

    @staticmethod
    def opened(text: str) -> OtherReading | None:
        """Give a reading if the line says that a deadlock was found."""
        return _JavaReading(text.strip()) if _OPENS.match(text.strip()) else None


class _JavaReading:
    def __init__(self, headline: str) -> None:
        self.done = False
        self._headline = headline
        self._thread = ""
        self._waits: dict[str, tuple[str, str]] = {}
        self._held_by: dict[str, str] = {}
        self._stacks: dict[str, list[Frame]] = {}
        self._in_stacks = False
        self._lines = 0

    def feed(self, text: str) -> None:
        """Take a line: first what each thread waits for and who holds that, then the stacks of the same threads."""
        self._lines += 1
        thread = _THREAD.match(text.strip())
        if text.startswith("Java stack information"):
            self._in_stacks = True
        elif thread is not None:
            self._thread = thread["name"]
            if self._in_stacks:
                self._stacks.setdefault(self._thread, [])
        elif (waits := _WAITS.match(text)) is not None and not self._in_stacks:
            lock = waits["object"] or waits["monitor"] or waits["owned"] or "?"
            kind = waits["class"] or waits["owned_class"] or "monitor"
            self._waits[self._thread] = lock, kind
        elif (held := _HELD_BY.match(text)) is not None:
            self._held_by[self._thread] = held["name"]
        elif self._in_stacks and (frame := _FRAME.match(text)) is not None:
            file, _, line = frame["place"].partition(":")
            name = frame["function"]
            shown = f"mutex_lock[{name}]" if name.startswith(("java.", "jdk.", "sun.")) else name
            self._stacks.setdefault(self._thread, []).append(
                Frame(shown, file, int(line) if line.isdigit() else 0)
            )
        elif re.match(r"Found \d+ deadlocks?\.", text) or (_OPENS.match(text.strip()) and self._lines > 1):
            self.done = True
        self.done = self.done or self._lines > MOST

    def report(self, source: str, number: int) -> LogReport | None:
        """Give the circle of threads; None if no thread was named."""
        edges = []
        names: dict[str, str] = {}
        for thread, (wanted, kind) in self._waits.items():
            holder = self._held_by.get(thread)
            names[wanted] = f"{kind}@{wanted}"
            # What a thread holds is what the one that waits for it wants.
            held = next(
                (lock for other, (lock, _) in self._waits.items() if self._held_by.get(other) == thread), ""
            )
            if holder and held:
                edges.append(Dependency(held, wanted, thread, self._stacks.get(thread, [])))
        if not self._waits:
            return None
        return circular("java", self._headline, edges, source, number, names=names, hung=True)
