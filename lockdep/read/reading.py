"""One report being read, line by line: what stands where, torn records put together, foreign lines passed
over.
"""

from __future__ import annotations

from typing import Final

from sugarbush.lockdep.read import forms
from sugarbush.lockdep.read.facts import Block, Facts
from sugarbush.lockdep.read.frames import frame_end, frame_of, is_frame
from sugarbush.lockdep.read.locks import LOCK, PARTIAL, WHOLE, joined

_PATIENCE: Final = 14
"""So many lines that fit no rule end a report whose closing stack has begun."""
_LONG_PATIENCE: Final = 400
_TORN: Final = 40
"""So many foreign lines may stand between two parts of one record."""
_LONGEST: Final = 1 << 16
"""Characters of a line in which a whole report may have been run together."""
_LINE: Final = 2000
"""Characters of one line of a report: no name is so long, and the forms below are made for lines."""
_MOST: Final = 4000
"""Lines that a report keeps; a log may be made up, with a stack or a list that has no end."""


class Reading(Facts):
    """What has been read of one report. Feed it the lines of its own writer; `done` says when it has ended."""

    def feed(self, text: str) -> None:
        """Read one more line, without its prefixes."""
        line = text[:_LONGEST].strip()
        self._lines += 1
        if self._lines > _MOST:
            self.done = True
            return
        if not line:
            return
        if self._stack is not None and forms.FRAME.match(line):
            # Half of all lines: as kernels have printed them since 4.16.
            self._foreign = 0
            self._stack.append(line)
            return
        if not self._torn and self._is_whole(line):
            self._foreign = 0
            self._last = ""
            return
        if len(line) > 38 and forms.SPLIT.search(line):
            for part in forms.SPLIT.split(line):
                if part:
                    self._one(part[:_LINE].strip(), text)
            return
        self._one(line[:_LINE], text)

    def _is_whole(self, line: str) -> bool:
        """The lines that are nearly all lines, first: they need neither patience nor a second look."""
        slot = forms.SLOTS.get(line)
        if slot is not None:
            self._slot, self._stack = slot, None
            self.evidence += 1
            return True
        if "){" not in line:
            if line in forms.NOTHING:
                return True
            if self._slot == "table" and line.endswith(";"):
                return False
            return line[0] in "=-" and line[1:3] != "> " and self._rule(line)
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
        if line[0] in forms.CRASH_STARTS and forms.CRASH.match(line):
            # The kernel fell over while it printed: what follows is of that.
            self.done = True
            return
        if (
            self._stack is not None
            and ("+0x" in line or self._stack or is_frame(line))
            and self._is_frame(line)
        ):
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
        if (
            line in forms.SLOTS
            or line.startswith(("-> #", "#"))
            or forms.HOLDS.match(line)
            or line in forms.TRACES
        ):
            self._settle()
            return False
        both = joined(self._torn, line)
        body = self._body(both)
        found = LOCK.match(body)
        is_class = self._slot in _CLASS_SLOTS or both.startswith("-> ")
        is_whole = found is not None and bool(found["site"] or is_class)
        if is_whole or PARTIAL.match(body):
            self._torn, self._torn_for = both, 0
            if is_whole:
                self._settle()
            return True
        found = LOCK.match(self._body(self._torn))
        if found is not None:
            self._settle()
            return False
        if forms.TASK.match(line) or line.startswith("="):
            self._torn = ""
            return False
        self._torn_for += 1
        if self._torn_for > _TORN:
            self._torn = ""
        return True

    @staticmethod
    def _body(record: str) -> str:
        found = forms.LINK.match(record) or forms.HELD.match(record) or forms.BLOCK.match(record)
        return record[found.end() :] if found else record

    def _settle(self) -> None:
        """Takes what there is of a torn record, if that is a lock at all."""
        record, self._torn, self._torn_for = self._torn, "", 0
        if record and LOCK.match(self._body(record)):
            self._record(record)

    def _known(self, line: str, raw: str) -> bool:
        first = line[0]
        if (first in "(-#" or first.isdigit() or first in "abcdef_") and self._lock_record(line):
            return True
        slot = forms.SLOTS.get(line)
        if slot is not None:
            self._slot, self._stack = slot, None
            self.evidence += 1
            return True
        if line in forms.TRACES or line.startswith("Backtrace:"):
            self._trace(line)
            return True
        if self._slot == "table" and self._row(line, raw):
            return True
        if self._slot == "chain" and forms.CHAIN.match(line):
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

    def _lock_record(self, line: str) -> bool:
        """A lock line, whole or its beginning, where one can stand."""
        held, link, block = forms.HELD.match(line), forms.LINK.match(line), forms.BLOCK.match(line)
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
        link = forms.LINK.match(line)
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
        held = forms.HELD.match(line)
        if held:
            self._keep_held(int(held["index"]), line[held.end() :])
            return
        block = forms.BLOCK.match(line)
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


_CLASS_SLOTS: Final = ("safe", "unsafe", "other", "dependency")
_SITED: Final = ("wanted", "owned")
_LOCK_SLOTS: Final = (*_SITED, *_CLASS_SLOTS)
