"""One report being read, line by line: what stands where, torn records put together, foreign lines passed over."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from lockdep.read.frames import frame_end, frame_of, is_frame
from lockdep.read.headlines import Headline
from lockdep.read.locks import LOCK, PARTIAL, WHOLE, joined
from lockdep.reports.base import ReportKind

_PATIENCE: Final = 14
"""So many lines that fit no rule end a report whose closing stack has begun."""
_LONG_PATIENCE: Final = 400
_TORN: Final = 40
"""So many foreign lines may stand between two parts of one record."""
_MOST: Final = 4000
"""Lines that a report keeps; a stack or a list without an end is somebody's joke."""

_ATOMIC: Final = re.compile(r"in_atomic\(\): .*\bpid: (?P<pid>\d+), name: (?P<comm>.{1,64})$")
_TASK: Final = re.compile(
    r"(?P<comm>.{1,64})/(?P<pid>\d+)(?: \[(?P<tag>HC\S+)\])? (?P<does>is trying to acquire(?: lock)?:|is trying to lock:"
    r"|just changed the state of lock:|takes:|is trying to (?:release|contend) lock.*|is freeing memory .*"
    r"|is leaving the kernel with locks still held!)$"
)
_RELEASE: Final = re.compile(r"(?P<release>\d+\.\d+[\w.+~\-]*)(?: #\d+\S*| SMP| PREEMPT\S*)*(?: (?:Not t|T)ainted.*)?$")
_CPU: Final = re.compile(r"CPU: \d+ (?:UID: \d+ )?PID: (?P<pid>\d+)\s+Comm: (?P<comm>.{1,64}?)\s+(?:Not tainted|Tainted:.*?) (?P<release>\d+\.\S+)")
_OLD_CPU: Final = re.compile(r"Pid: (?P<pid>\d+), comm: (?P<comm>.{1,64}?)\s+(?:Not tainted|Tainted:.*?) (?P<release>\d+\.\S+)")
_HOLDS: Final = re.compile(r"(?:(?P<count>\d+) locks? held by|no locks held by) (?P<comm>.{1,64})/(?P<pid>\d+)(?:[:.]|,.*)$")
_LINK: Final = re.compile(r"-> #(?P<index>\d+)\s*(?=\(|$)")
_BLOCK: Final = re.compile(r"-> (?=\()")
_HELD: Final = re.compile(r"#(?P<index>\d+):\s*")
_USAGE: Final = re.compile(r"(?P<usage>(?:IN-|INITIAL )?[A-Z_]+(?:-ON)?(?:-[WR])?(?: READ)? ?(?:USE)?) at:$")
_RELEASES: Final = re.compile(r"is trying to (?:release|contend) lock \((?P<name>.*)\) at:$")
_STATES: Final = re.compile(r"inconsistent \{(?P<before>[^}]+)\} -> \{(?P<after>[^}]+)\} usage\.?$")
_REGISTERED: Final = re.compile(r"\{(?P<state>[^}]+)\} state was registered at:$")
_CONNECTS: Final = re.compile(r"but this new dependency connects a (?P<state>\S+)-irq-safe lock:$")
_TO: Final = re.compile(r"to a (?P<state>\S+)-irq-unsafe lock:$")
_BECAME: Final = re.compile(r"\.{0,3}\s*which became (?P<state>\S+-irq-(?P<what>safe|unsafe)) at:$")
_ANOTHER: Final = re.compile(
    r"but this lock (?:took another, (?P<unsafe>\S+)-(?:irq-)?unsafe lock in the past:|was taken by another, (?P<safe>\S+)-(?:irq-)?safe lock in the past:)$"
)
_ROW: Final = re.compile(r"(?:lock|rlock|sync|wlock|local_irq_disable|<Interrupt>)")
_ROW_LOCK: Final = re.compile(r"(?P<verb>r?lock|sync|wlock)\((?P<name>.+)\);$")
_CHAIN: Final = re.compile(r"\S.* --> .*\S$")
_MESSAGE: Final = re.compile(r"(?P<place>\S+:\d+) (?P<message>\S.*)$")
_SPLIT: Final = re.compile(
    r"(?<=\S)\s+(?=but task is already holding lock:|and this task is already holding:|which lock already depends on"
    r"|the existing dependency chain|-> #\d+ \(|other info that might help us|Chain exists of:"
    r"|Possible (?:interrupt )?unsafe locking scenario:|\*\*\* DEADLOCK|\d+ locks? held by \S|no locks held by "
    r"|#\d+: (?:[0-9a-f]{6,16} )?\(|stack backtrace:|Call Trace:|CPU: \d+ PID: |Hardware name: |which would create a new"
    r"|but this new dependency connects|to a \S+-irq-unsafe lock:|irq event stamp: |the dependencies between the lock"
    r"|the shortest dependencies|and interrupts could create|May be due to missing|\{[A-Z_ -]+\} state was registered"
    r"|rcu_scheduler_active = |in_atomic\(\): )"
    r"|(?<=is trying to acquire lock:)\s+(?=\S)|(?<=is trying to acquire:)\s+(?=\S)|(?<=is already holding lock:)\s+(?=\S)"
    r"|(?<=-{10})\s+(?=\S)|(?<=already depends on the new lock\.)\s+(?=\S)|(?<=changed the state of lock:)\s+(?=\S)"
    r"|(?<=\] takes:)\s+(?=\S)|(?<=this task is already holding:)\s+(?=\S)"
)
_CRASH: Final = re.compile(
    r"Unable to handle kernel|general protection fault|BUG: (?!sleeping|scheduling|workqueue|MAX_)|kernel BUG at|Oops: |KASAN: "
    r"|-+\[ cut here|Linux version \d|watchdog: BUG|Internal error:|Rebooting in \d|sysrq: "
)
_CRASH_STARTS: Final = "UgBkOK-LwIRs"
_LAST_FUNCTION: Final = re.compile(r"last function: (?P<function>[\w.]+)")
_FRAME: Final = re.compile(r"(?:\? )?[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+$")
_TRACES: Final = ("Call Trace:", "Call trace:", "Backtrace:", "Backtrace: ", "stack backtrace:", "[<TASK>]", "Stack trace:")
_SLOTS: Final = {
    "but task is already holding lock:": "owned",
    "and this task is already holding:": "owned",
    "and task is already holding:": "owned",
    "which would create a new lock dependency:": "dependency",
    "which lock already depends on the new lock.": "",
    "which lock already depends on the new lock,": "",
    "the existing dependency chain (in reverse order) is:": "",
    "other info that might help us debug this:": "",
    "but this task is not holding:": "nest",
    "Chain exists of:": "chain",
    "Possible unsafe locking scenario:": "table",
    "Possible interrupt unsafe locking scenario:": "table",
}
_IGNORED: Final = ("CPU0", "----", "Hardware name:", "irq event stamp", "hardirqs last", "softirqs last", "<TASK>", "<IRQ>", "</IRQ>", "RIP:", "Code:", "RSP:", "RAX:", "RDX:", "RBP:", "R10:", "R13:", "<EOI>", "</EOI>", "... key", "*** DEADLOCK", "May be due", "and interrupts could", "the shortest dep", "rcu_scheduler_active", "preempt_count:", "RCU nest depth", "in_atomic", "ops:", "which could lead to", "Workqueue:", "hardirqs", "RCU used illegally", "FS:", "CS:", "CR2:", "DR0:", "DR3:", "ORIG_RAX")


@dataclass(slots=True)
class Block:
    """A class block of an irq report."""

    line: re.Match[str]
    usages: list[tuple[str, list[str]]] = field(default_factory=list)
    acquired: list[str] = field(default_factory=list)


class Reading:
    """What has been read of one report. Feed it the lines of its own writer; `done` says when it has ended."""

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

    def feed(self, text: str) -> None:
        """Read one more line, without its prefixes."""
        line = text.strip()
        self._lines += 1
        if self._lines > _MOST:
            self.done = True
            return
        if not line:
            return
        if self._stack is not None and _FRAME.match(line):
            # Half of all lines: as kernels have printed them since 4.16.
            self._foreign = 0
            self._stack.append(line)
            return
        if not self._torn and self._is_whole(line):
            self._foreign = 0
            self._last = ""
            return
        if len(line) > 38 and _SPLIT.search(line):
            for part in _SPLIT.split(line):
                if part:
                    self._one(part.strip(), text)
            return
        self._one(line, text)

    def _is_whole(self, line: str) -> bool:
        """The lines that are nearly all lines, first: they need neither patience nor a second look."""
        slot = _SLOTS.get(line)
        if slot is not None:
            self._slot, self._stack = slot, None
            self.evidence += 1
            return True
        if "){" not in line:
            return False
        found = WHOLE.match(line)
        if found is None:
            return False
        if found["link"] is not None:
            self._slot = ""
            self._stack = []
            self.links.append((int(found["link"]), found, self._stack))
        elif found["site"] is None:
            return False
        elif found["held"] is not None:
            if self.announced is None:
                return False
            self._keep(int(found["held"]), found)
        elif self._slot in _SITED:
            self.locks[self._slot] = found
            self._stack = None
        else:
            return False
        self.evidence += 1
        return True

    def close(self) -> None:
        """There is no more: a record that is still torn is taken as far as it goes."""
        self._settle()
        self.done = True

    def _one(self, line: str, raw: str) -> None:
        if self._torn and self._continued(line):
            return
        if line[0] in _CRASH_STARTS and _CRASH.match(line):
            # The kernel fell over while it printed: what follows is of that.
            self.done = True
            return
        if self._stack is not None and ("+0x" in line or self._stack or is_frame(line)) and self._is_frame(line):
            return
        if self._known(line, raw):
            self._foreign = 0
            self._last = ""
            return
        # A line that was wrapped is known together with the one before it.
        if self._last:
            both, self._last = f"{self._last} {line}", ""
            if self._known(both, raw):
                self._foreign = 0
                return
        self._last = line
        self._foreign += 1
        if self._foreign > (_PATIENCE if self.closing else _LONG_PATIENCE):
            self.done = True

    def _is_frame(self, line: str) -> bool:
        """Keeps a frame in the stack that is being read, or several that were run together."""
        if "){" in line or line.startswith(("hardirqs", "softirqs", "#", "-> ", "RIP:")):
            return False
        if not is_frame(line):
            return False
        assert self._stack is not None
        self._foreign = 0
        end = frame_end(line)
        while end and len(line) > end and "+0x" in line[end:]:
            rest = line[end:].lstrip()
            if not frame_end(rest) or rest.startswith("["):
                break
            self._stack.append(line[:end])
            line, end = rest, frame_end(rest)
        self._stack.append(line)
        return True

    def _continued(self, line: str) -> bool:
        """Whether a line is the next part of a torn record, or was passed over while one is waited for."""
        if line in _SLOTS or line.startswith(("-> #", "#")) or _HOLDS.match(line) or line in _TRACES:
            self._settle()
            return False
        both = joined(self._torn, line)
        body = self._body(both)
        found = LOCK.match(body)
        if (found is not None and found["site"]) or PARTIAL.match(body):
            self._torn, self._torn_for = both, 0
            if found is not None and (found["site"] or self._slot in _CLASS_SLOTS):
                self._settle()
            return True
        found = LOCK.match(self._body(self._torn))
        if found is not None:
            self._settle()
            return False
        if _TASK.match(line) or line.startswith("="):
            self._torn = ""
            return False
        self._torn_for += 1
        if self._torn_for > _TORN:
            self._torn = ""
        return True

    @staticmethod
    def _body(record: str) -> str:
        found = _LINK.match(record) or _HELD.match(record) or _BLOCK.match(record)
        return record[found.end() :] if found else record

    def _settle(self) -> None:
        """Takes what there is of a torn record, if that is a lock at all."""
        record, self._torn, self._torn_for = self._torn, "", 0
        if record and LOCK.match(self._body(record)):
            self._record(record)

    def _known(self, line: str, raw: str) -> bool:
        first = line[0]
        if first in "(-#" or first.isdigit() or first in "abcdef_":
            if self._lock_record(line):
                return True
        slot = _SLOTS.get(line)
        if slot is not None:
            self._slot, self._stack = slot, None
            self.evidence += 1
            return True
        if line in _TRACES or line.startswith("Backtrace:"):
            self._trace(line)
            return True
        if self._slot == "table" and self._row(line, raw):
            return True
        if self._slot == "chain" and _CHAIN.match(line):
            self.chain = [name.strip() for name in line.split(" --> ")]
            return True
        if self._slot == "site":
            self._slot = ""
            found = frame_of(line)
            if found is not None:
                self.site = line
                return True
        if self._slot == "nest" and " " not in line.strip("()"):
            self.message, self._slot = line, ""
            return True
        return self._section(line) or self._plain(line)

    def _trace(self, line: str) -> None:
        self._slot = ""
        if not self.closing or line == "stack backtrace:":
            # The second one of a report shows the same stack (kernel: print_lock_nested_lock_not_held dumps it twice).
            self._stack = self.closing
            self.evidence += line == "stack backtrace:"
        else:
            self._stack = None
            if self.kind in _ONE_TRACE:
                self.done = True

    def _lock_record(self, line: str) -> bool:
        """A lock line, whole or its beginning, where one can stand."""
        held, link, block = _HELD.match(line), _LINK.match(line), _BLOCK.match(line)
        if not (held or link or block) and self._slot not in _LOCK_SLOTS:
            return False
        if held and self.announced is None and not self.held_rows:
            return False
        body = line[(held or link or block).end() :] if (held or link or block) else line  # type: ignore[union-attr]
        found = LOCK.match(body)
        needs_site = held is not None or (not link and not block and self._slot in _SITED)
        if found is not None and (found["site"] or not needs_site):
            self._record(line)
            return True
        if (found is not None or PARTIAL.match(body)) and (body[:1] in "(" or held or link or len(body) > 7):
            self._settle()
            self._torn = line
            return True
        return False

    def _record(self, line: str) -> None:
        """A lock line that is as whole as it gets."""
        self.evidence += 1
        link = _LINK.match(line)
        if link:
            found = LOCK.match(line, link.end())
            assert found is not None
            self._slot = ""
            self._stack = []
            self.links.append((int(link["index"]), found, self._stack))
            rest = line[found.end() :].lstrip(": ")
            if rest:
                self._is_frame(rest)
            return
        held = _HELD.match(line)
        if held:
            self._keep_held(int(held["index"]), line[held.end() :])
            return
        block = _BLOCK.match(line)
        if block:
            found = LOCK.match(line, block.end())
            assert found is not None
            if self._slot != "dependency":
                self.blocks.append(Block(found))
                self._stack, self._slot = None, ""
            return
        if self._slot == "dependency":
            names = [LOCK.match(part.strip()) for part in line.split(" -> (", 1)]
            second = LOCK.match("(" + line.split(" -> (", 1)[1]) if " -> (" in line else None
            if names[0] is not None and second is not None:
                self.dependency = names[0]["name"], second["name"]
            self._slot = ""
            return
        found = LOCK.match(line)
        assert found is not None
        # A symbolised log has the line once for each inlined frame; the last one is the place.
        self.locks[self._slot] = found
        self._stack = None

    def _keep_held(self, index: int, body: str) -> None:
        found = LOCK.match(body)
        assert found is not None
        self._keep(index, found)

    def _keep(self, index: int, found: re.Match[str]) -> None:
        rows = self.held_rows[-1][2] if self.kind is ReportKind.ALL_LOCKS and self.held_rows else self.held
        if index < len(rows):
            rows[index] = found
        elif index == len(rows):
            rows.append(found)
        else:
            self.doubts.append("a held lock is missing")
            rows.append(found)

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
        self._slot = "wanted" if does.endswith(":") and "release" not in does and "contend" not in does else ""
        released = _RELEASES.match(does)
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
        if not _ROW.match(line):
            return False
        cpu = int(len(raw.expandtabs()) - len(raw.expandtabs().lstrip()) > 15)
        found = _ROW_LOCK.match(line)
        if found is not None:
            self.table.append((cpu, found["verb"], found["name"]))
        elif line.startswith("<Interrupt>"):
            self.table.append((cpu, "interrupt", ""))
        return True

    def _plain(self, line: str) -> bool:
        """Lines that say who, where and in which kernel."""
        if line.startswith("in_atomic()") and self._in_atomic(line):
            return True
        if line.startswith(_IGNORED):
            return True
        if line[0] in "=-" and len(set(line)) == 1:
            if self.kind is ReportKind.ALL_LOCKS and self.held_rows and line[0] == "=":
                self.done = True
            elif self.closing and line[0] == "=":
                # The rule above the next report; whether one follows or not, this one is over.
                self.done = True
            return True
        if not self.release and line[0].isdigit():
            found = _RELEASE.match(line)
            if found is not None:
                self.release = found["release"]
                self.framed = True
                return True
        found = _CPU.match(line) or _OLD_CPU.match(line)
        if found is not None:
            self._ran(found)
            return True
        if line in ("</TASK>", "]---") and self.closing and self.kind not in (ReportKind.STALL,):
            self.done = True
            return True
        if self.kind is ReportKind.WORKER_LEAK and not self.message:
            found = _LAST_FUNCTION.match(line)
            if found is not None:
                self.message = found["function"]
                return True
        if self.kind is ReportKind.RCU and not self.message:
            found = _MESSAGE.match(line)
            if found is not None:
                self.message = found["message"]
                self.evidence += 1
                return True
        return False

    def _in_atomic(self, line: str) -> bool:
        found = _ATOMIC.match(line)
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
        self._stack = self.closing if self.kind in _BARE_TRACE else self._stack


_CLASS_SLOTS: Final = ("safe", "unsafe", "other", "dependency")
_SITED: Final = ("wanted", "owned")
_LOCK_SLOTS: Final = (*_SITED, *_CLASS_SLOTS)
_ONE_TRACE: Final = (ReportKind.SLEEP_IN_ATOMIC, ReportKind.SCHEDULE_IN_ATOMIC, ReportKind.HUNG, ReportKind.TABLE)
_BARE_TRACE: Final = ()
_SECTIONS: Final = (
    (_TASK, Reading._does),
    (_HOLDS, Reading._holds),
    (_USAGE, Reading._usage),
    (_BECAME, Reading._became),
    (_CONNECTS, Reading._is_safe),
    (_TO, Reading._is_unsafe),
    (_STATES, Reading._two_states),
    (_REGISTERED, Reading._was_registered),
    (_ANOTHER, Reading._other),
    (re.compile(r"\.{0,3}\s*acquired at:$"), Reading._acquired),
)
