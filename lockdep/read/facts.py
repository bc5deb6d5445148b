"""What the lines of one report say, kept as it stands: `Reading` finds out which line is what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from sugarbush.lockdep.model import ReportKind
from sugarbush.lockdep.read import forms
from sugarbush.lockdep.read.headlines import Headline


@dataclass(slots=True)
class Block:
    """A class block of an irq report."""

    line: re.Match[str]
    usages: list[tuple[str, list[str]]] = field(default_factory=list)
    acquired: list[str] = field(default_factory=list)


class Facts:
    """What has been read so far, and the sections that say more; `done` says when the report has ended."""

    def __init__(self, headline: Headline, source: str, number: int, time: str, stamped: bool) -> None:
        self.headline = headline
        self.kind = headline.kind
        self.source, self.number, self.time, self.stamped = source, number, time, stamped
        self.done = False
        self.framed = False
        self.task: tuple[str, str] | None = None
        self.tag = ""
        self.release = ""
        self.locks: dict[str, re.Match[str]] = {}
        self.links: list[tuple[int, re.Match[str], list[str]]] = []
        self.usages: list[tuple[str, list[str]]] = []
        self.blocks: list[Block] = []
        self.held: list[re.Match[str]] = []
        self.held_rows: list[tuple[str, str, list[re.Match[str]]]] = []
        self.announced: int | None = None
        self.holder: tuple[str, str] | None = None
        self.dependency: tuple[str, str] | None = None
        self.states: list[str] = []
        self.chain: list[str] = []
        self.table: list[tuple[int, str, str]] = []
        self.message = headline.fields.get("message", "")
        self.closing: list[str] = []
        self.site = ""
        self.doubts: list[str] = []
        self.evidence = 0
        self._stack: list[str] | None = None
        self._slot = ""
        self._torn = ""
        self._torn_for = 0
        self._last = ""
        self._foreign = 0
        self._lines = 0
        if headline.kind in (ReportKind.SLEEP_IN_ATOMIC, ReportKind.SCHEDULE_IN_ATOMIC, ReportKind.HUNG):
            self._slot = "message"
        for comm, pid in (("comm", "pid"), ("scomm", "spid"), ("hcomm", "hpid"), ("wcomm", "wpid")):
            if comm in headline.fields:
                self.task = headline.fields[comm], headline.fields[pid]
        if "safe" in headline.fields:
            self.states = [headline.fields["safe"], headline.fields["unsafe"]]

    def _keep(self, index: int, found: re.Match[str]) -> None:
        rows = self.held_rows[-1][2] if self.kind is ReportKind.ALL_LOCKS and self.held_rows else self.held
        if index < len(rows):
            rows[index] = found
        elif index == len(rows):
            rows.append(found)
        else:
            self.doubts.append("a held lock is missing")
            rows.append(found)

    def _trace(self, line: str) -> None:
        self._slot = ""
        if not self.closing or line == "stack backtrace:":
            # The second one of a report shows the same stack (kernel: print_lock_nested_lock_not_held dumps
            # it twice).
            self._stack = self.closing
            self.evidence += line == "stack backtrace:"
        else:
            self._stack = None
            if self.kind in _ONE_TRACE:
                self.done = True

    def _section(self, line: str) -> bool:
        last = line[-1]
        if last not in ":.!" and "locks held by" not in line:
            return False
        for form, does in _SECTIONS:
            found = form.match(line)
            if found is not None:
                self._stack = None
                does(self, found)
                self.evidence += 1
                return True
        return False

    def _does(self, found: re.Match[str]) -> None:
        who = found["comm"], found["pid"]
        if self.task is not None and self.task != who:
            self.doubts.append("two tasks")
        self.task = who
        self.tag = found["tag"] or ""
        does = found["does"]
        self._slot = (
            "wanted" if does.endswith(":") and "release" not in does and "contend" not in does else ""
        )
        released = forms.RELEASES.match(does)
        if released:
            self.message = released["name"]
            self._slot = "site"
        if does.startswith("is freeing"):
            self._slot = "wanted"

    def _holds(self, found: re.Match[str]) -> None:
        who = found["comm"], found["pid"]
        self._slot, self._stack = "", None
        if self.kind is ReportKind.ALL_LOCKS:
            self.held_rows.append((*who, []))
            self.announced = 0
            return
        if self.holder is not None:
            # What comes behind the list of one task is a list of all, or of another report.
            self.done = True
            return
        if self.closing and self.kind is not ReportKind.NEST_LOCK:
            # The list comes before the stack, so the stack is another task's, printed at the same time.
            self.doubts.append("a stack before the held locks")
        self.holder = who
        self.announced = int(found["count"] or 0)

    def _usage(self, found: re.Match[str]) -> None:
        self._stack = []
        if self.blocks:
            self.blocks[-1].usages.append((found["usage"], self._stack))

    def _became(self, found: re.Match[str]) -> None:
        self._stack, self._slot = [], ""
        self.usages.append((found["state"], self._stack))

    def _was_registered(self, found: re.Match[str]) -> None:
        self._stack, self._slot = [], ""
        self.usages.append((found["state"], self._stack))

    def _two_states(self, found: re.Match[str]) -> None:
        self.states = [found["before"], found["after"]]

    def _is_safe(self, found: re.Match[str]) -> None:
        self._slot = "safe"
        if not self.states:
            self.states = [found["state"], found["state"]]

    def _is_unsafe(self, _: re.Match[str]) -> None:
        self._slot = "unsafe"

    def _other(self, found: re.Match[str]) -> None:
        self._slot = "other"
        self.states = [found["unsafe"] or found["safe"], "unsafe" if found["unsafe"] else "safe"]

    def _acquired(self, _: re.Match[str]) -> None:
        self._stack = self.blocks[-1].acquired if self.blocks else None

    def _row(self, line: str, raw: str) -> bool:
        if not forms.ROW.match(line):
            return False
        cpu = int(len(raw.expandtabs()) - len(raw.expandtabs().lstrip()) > 15)
        found = forms.ROW_LOCK.match(line)
        if found is not None:
            self.table.append((cpu, found["verb"], found["name"]))
        elif line.startswith("<Interrupt>"):
            self.table.append((cpu, "interrupt", ""))
        return True

    def _plain(self, line: str) -> bool:
        """Lines that say who, where and in which kernel."""
        if line.startswith("in_atomic()") and self._in_atomic(line):
            return True
        if line.startswith(forms.IGNORED):
            return True
        if line[0] in "=-" and self._rule(line):
            return True
        if not self.release and line[0].isdigit():
            found = forms.RELEASE.match(line)
            if found is not None:
                self.release = found["release"]
                self.framed = True
                return True
        found = forms.CPU.match(line) or forms.OLD_CPU.match(line)
        if found is not None:
            self._ran(found)
            return True
        if line in ("</TASK>", "]---") and self.closing and self.kind not in (ReportKind.STALL,):
            self.done = True
            return True
        if self.kind is ReportKind.WORKER_LEAK and not self.message:
            found = forms.LAST_FUNCTION.match(line)
            if found is not None:
                self.message = found["function"]
                return True
        if self.kind is ReportKind.RCU and not self.message:
            found = forms.MESSAGE.match(line)
            if found is not None:
                self.message = found["message"]
                self.evidence += 1
                return True
        return False

    def _rule(self, line: str) -> bool:
        """Whether a line is a rule; one above the next report, or below a list of all locks, ends this one."""
        if line != line[0] * len(line):
            return False
        if line[0] == "=" and (self.closing or (self.kind is ReportKind.ALL_LOCKS and self.held_rows)):
            self.done = True
        return True

    def _in_atomic(self, line: str) -> bool:
        found = forms.ATOMIC.match(line)
        if found is None:
            return False
        if self.closing:
            self.doubts.append("a stack before the state")
        self.task = found["comm"], found["pid"]
        self.evidence += 1
        return True

    def _ran(self, found: re.Match[str]) -> None:
        if self.closing:
            # A second CPU line is of another dump.
            self.done = True
            return
        self.release = self.release or found["release"]
        who = found["comm"], found["pid"]
        if self.task is None and self.kind is not ReportKind.HUNG:
            self.task = who


_ONE_TRACE: Final = (
    ReportKind.SLEEP_IN_ATOMIC,
    ReportKind.SCHEDULE_IN_ATOMIC,
    ReportKind.HUNG,
    ReportKind.TABLE,
)
_SECTIONS: Final = (
    (forms.TASK, Facts._does),
    (forms.HOLDS, Facts._holds),
    (forms.USAGE, Facts._usage),
    (forms.BECAME, Facts._became),
    (forms.CONNECTS, Facts._is_safe),
    (forms.TO, Facts._is_unsafe),
    (forms.STATES, Facts._two_states),
    (forms.REGISTERED, Facts._was_registered),
    (forms.ANOTHER, Facts._other),
    (re.compile(r"\.{0,3}\s*acquired at:$"), Facts._acquired),
)
