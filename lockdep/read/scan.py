"""From a stream of bytes to reports: in blocks, so that the memory does not grow with the log.

A block without one of the words of `headlines.PARTS` is passed over unread: that is what makes it fast. While
a report is open every line goes to the writer that it is of: two CPUs may print two reports at once.
"""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO, Final

from sugarbush.lockdep.read.build import built, is_report
from sugarbush.lockdep.read.headlines import PARTS, Headline, headline_of, unheaded
from sugarbush.lockdep.read.identities import key_of
from sugarbush.lockdep.read.lines import STAMP, Line, messages, stripped, unescaped
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.others import PARTS as OTHER_PARTS
from sugarbush.lockdep.read.others import OtherReading, opened
from sugarbush.lockdep.read.reading import Reading
from sugarbush.lockdep.read.titles import title

BLOCK: Final = 1 << 20
LONGEST: Final = 1 << 22
"""Bytes of one line that are kept; a JSON file has a whole log in a line, an endless line has no end."""
_BEFORE: Final = 2
"""Lines that are read before one with a word: the rule above a headline, or the half of one that was wrapped.
"""
_MOST_OPEN: Final = 64
"""So many writers print reports at once at most; with more, the oldest is taken as it is."""
_LATER: Final = 300.0
_ALL_PARTS: Final = (*PARTS, *OTHER_PARTS)
_PARTS: Final = tuple(part.encode() for part in _ALL_PARTS)
_ESCAPES: Final = ("\x1b", "^[[", "&gt;", "&lt;", "&amp;", "&#", "&quot;", "#012", "\\n")
_ENCODED: Final = (
    b"=3D=3D",
    b"quoted-printable",
    b"Quoted-Printable",
    b"QUOTED-PRINTABLE",
    b"ncoding: base64",
    b"ncoding: BASE64",
)
"""By these a block is known that has to be decoded before the words can be found in it."""
_BASE64: Final = re.compile(
    rb"(?i)(?P<head>\ncontent-transfer-encoding: base64\r?\n(?:[^\r\n]+\r?\n)*\r?\n)(?P<body>(?:[A-Za-z0-9+/=]+\r?\n)+)"
)
_QP: Final = re.compile(rb"(?im)^content-transfer-encoding:\s*(?P<how>[\w-]+)")


def read_stream(stream: BinaryIO, source: str = "") -> Iterator[LogReport]:
    r"""The reports of a log, as they end; `source` is what they say they come from.

    >>> import io
    >>> log = b"[ 1.000000] WARNING: Nested lock was not taken\n[ 1.000001] cook/6 is trying to lock:\n"
    >>> [(one.word, one.complete, one.task.comm) for one in read_stream(io.BytesIO(log))]
    [('nest-lock', False, 'cook')]
    """
    scan = _Scan(source)
    left = b""
    while block := stream.read(BLOCK):
        data = left + block
        end = data.rfind(b"\n") + 1
        if not end and len(data) < LONGEST:
            left = data
            continue
        # A line without an end is read as if it ended here.
        left = data[end:] if end else b""
        yield from scan.block(data[:end] if end else data)
    if left:
        yield from scan.block(left)
    yield from scan.end()


def read_text(text: str, source: str = "") -> list[LogReport]:
    """The reports in a text."""
    scan = _Scan(source)
    return [*scan.lines(text), *scan.end()]


def _unpacked(found: re.Match[bytes]) -> bytes:
    """The body of a mail, decoded from base64; unchanged if it is no base64."""
    try:
        return found["head"] + base64.b64decode(found["body"]) + b"\n"
    except ValueError:
        return found[0]


def _positions(text: str) -> Iterator[int]:
    """Where the words stand. One search for each is ten times as fast as one for all of them."""
    for part in _ALL_PARTS:
        at = text.find(part)
        while at >= 0:
            yield at
            # One hit is enough for a line.
            at = text.find("\n", at)
            at = text.find(part, at) if at >= 0 else -1


def _rows_of(text: str, positions: Sequence[int]) -> list[int]:
    """The numbers of the lines in which these positions are."""
    rows: list[int] = []
    row = start = 0
    for position in positions:
        row += text.count("\n", start, position)
        start = position
        if not rows or rows[-1] != row:
            rows.append(row)
    return rows


class _Other:
    """A report of another checker, as a scan sees it."""

    def __init__(self, reading: OtherReading, number: int, stamped: bool) -> None:
        self.reading, self.number, self.stamped = reading, number, stamped

    @property
    def done(self) -> bool:
        return self.reading.done

    def feed(self, text: str) -> None:
        self.reading.feed(text)

    def close(self) -> None:
        """Nothing to do: a reading of another checker keeps no line back."""


class _Scan:
    """The reports that are open, by who prints them."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._open: dict[str, Reading | _Other] = {}
        self._stamps: dict[str, float] = {}
        self._number = 0
        self._qp = False
        self._last_who = ""
        self._rule = False
        self._half = ""

    def block(self, data: bytes) -> Iterator[LogReport]:
        """One block of whole lines."""
        if b"\0" in data:
            # UTF-16, of which the halves of ASCII are the rest, or what a crash left in a console. Blocks of UTF-16
            # end at a byte 0x0a, the half of a character: its other half begins the next block, and is dropped there.
            data = data.replace(b"\0", b"").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
        is_plain = not self._qp and not any(mark in data for mark in _ENCODED)
        if is_plain and not self._open and not any(part in data for part in _PARTS):
            self._number += data.count(b"\n")
            return
        yield from self.lines(self._decoded(data))

    def _decoded(self, data: bytes) -> str:
        if any(mark in data for mark in _ENCODED):
            data = _BASE64.sub(_unpacked, data)
        for found in _QP.finditer(data):
            self._qp = found["how"].lower() == b"quoted-printable"
            if self._qp:
                break
        if self._qp or b"=3D=3D=3D=3D" in data:
            data = quopri.decodestring(data)
        return data.decode("utf-8", "replace")

    def lines(self, text: str) -> Iterator[LogReport]:
        """The lines of a block; where no report is open, only those around a word are looked at."""
        hits = sorted(_positions(text))
        next_hit = 0
        rows = text.split("\n")
        if rows and not rows[-1]:
            rows.pop()
        if not hits and not self._open:
            self._number += len(rows)
            return
        is_escaped = any(mark in text for mark in _ESCAPES)
        wanted = _rows_of(text, hits)
        first = self._number
        at = 0
        while at < len(rows):
            if not self._open:
                while next_hit < len(wanted) and wanted[next_hit] < at:
                    next_hit += 1
                if next_hit == len(wanted):
                    break
                hit = wanted[next_hit]
                at, stop = max(at, hit - _BEFORE), hit + 1
            else:
                stop = at + 1
            while at < stop:
                self._number = first + at + 1
                raw = rows[at]
                at += 1
                if is_escaped or "\r" in raw:
                    yield from self._raw(raw.rstrip("\r"))
                    continue
                found = STAMP.match(raw)
                if found is not None and self._open and raw.find("[", found.end()) < 0:
                    # Nearly all lines of a report: nothing in front but the stamp, and no second message in it.
                    end = found.end()
                    if end == len(raw):
                        continue
                    line = raw[end:]
                    if (
                        "NG: " not in line
                        and "FO: " not in line
                        and "UG: " not in line
                        and line[:7] != "Showing"
                    ):
                        who = found[2] or found[3] or ""
                        reading = self._open.get(who)
                        if reading is not None:
                            stamp = float(found[1])
                            before = self._stamps.get(who, stamp)
                            if before - 1.0 <= stamp <= before + _LATER:
                                self._stamps[who] = stamp
                                self._last_who = who
                                self._half = ""
                                self._rule = line[:5] == "=====" and not line.strip("= ")
                                reading.feed(line)
                                if reading.done:
                                    yield from self._close(who)
                                continue
                yield from self._raw(raw)
        self._number = first + len(rows)

    def end(self) -> Iterator[LogReport]:
        """No more lines come."""
        for who in list(self._open):
            yield from self._close(who)

    def _raw(self, raw: str) -> Iterator[LogReport]:
        if "\x1b" in raw or "&" in raw or "#012" in raw or "\\n" in raw or "^[[" in raw:
            for one in unescaped(raw):
                for part in messages(one):
                    yield from self._line(stripped(part))
            return
        for part in messages(raw):
            yield from self._line(stripped(part))

    def _line(self, line: Line) -> Iterator[LogReport]:
        text = line.text.strip()
        headline = self._headline(text) if text else None
        who = line.who
        if headline is not None:
            yield from self._close(who)
            stamped = line.stamp is not None
            time = "" if line.stamp is None else f"{line.stamp:.6f}"
            while len(self._open) >= _MOST_OPEN:
                yield from self._close(next(iter(self._open)))
            reading = Reading(headline, self._source, self._number, time, stamped)
            reading.framed = self._rule
            self._open[who] = reading
            self._last_who = who
            if line.stamp is not None:
                self._stamps[who] = line.stamp
            if headline.rest or not headline.text:
                # What was run together with the headline; or there is none, and this line is the first section.
                reading.feed(headline.rest or line.text)
            self._rule = False
            return
        if text and not (self._open.get(who) and isinstance(self._open[who], Reading)):
            other = opened(line.text)
            if other is not None:
                yield from self._close(who)
                self._open[who] = _Other(other, self._number, line.stamp is not None)
                self._last_who = who
                return
        if text:
            self._rule = text.startswith("=====") and text == "=" * len(text)
        if not line.marked and not who:
            # dmesg indents what follows an embedded newline; what has no mark and no indent is of another program.
            if line.indented:
                who = self._last_who
            else:
                who = self._unstamped()
        reading_or_none = self._open.get(who)
        if reading_or_none is None:
            return
        if line.stamp is not None:
            before = self._stamps.get(who, line.stamp)
            if line.stamp < before - 1.0 or line.stamp > before + _LATER:
                # Another boot, or long after.
                yield from self._close(who)
                return
            self._stamps[who] = line.stamp
            self._last_who = who
        reading_or_none.feed(line.text)
        if reading_or_none.done:
            yield from self._close(who)

    def _unstamped(self) -> str:
        """Which writer a line without any mark belongs to: none, in a log that has stamps."""
        reading = self._open.get("")
        return "" if reading is not None and not reading.stamped else "?"

    def _headline(self, text: str) -> Headline | None:
        headline = headline_of(text)
        if headline is None and self._half:
            headline = headline_of(f"{self._half} {text}")
        self._half = text if _HALF.match(text) and headline is None else ""
        if headline is None and "" not in self._open:
            headline = unheaded(text) if not self._open else None
        return headline

    def _close(self, who: str) -> Iterator[LogReport]:
        reading = self._open.pop(who, None)
        self._stamps.pop(who, None)
        if reading is None:
            return
        reading.close()
        if isinstance(reading, _Other):
            other = reading.reading.report(self._source, reading.number)
            if other is not None:
                yield replace(other, key=key_of(other))
            return
        if is_report(reading):
            report = built(reading)
            yield replace(report, key=key_of(report), title=title(report))


_HALF: Final = re.compile(r"(?:=+ )?\[? ?(?:WARNING|INFO|BUG): .{0,60}$")
