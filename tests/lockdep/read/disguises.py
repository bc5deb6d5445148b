"""What becomes of a log on its way to a bug report: prefixes, quotes, wraps, escapes, torn and woven lines.

Each disguise takes the bare lines of a log, as the kernel wrote them, and gives the bytes of a file.
"""

from __future__ import annotations

import base64
import html
import json
import quopri
import re
from collections.abc import Callable, Sequence

Disguise = Callable[[Sequence[str]], bytes]

_STAMP = re.compile(r"\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")


def bare(data: bytes) -> list[str]:
    """The lines without the stamps of the cases; what a newline in a record has indented stands alone again."""
    lines = data.decode("utf-8").replace("\r", "").splitlines()
    return [_STAMP.sub("", line) if _STAMP.match(line) else line for line in lines]


def _joined(lines: Sequence[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def _stamped(lines: Sequence[str], form: str = "[{at:12.6f}] ") -> list[str]:
    return [form.format(at=100 + 0.0001 * at) + line for at, line in enumerate(lines)]


def prefixed(form: str) -> Disguise:
    """Each line behind a prefix; ``{at}`` is the time."""
    return lambda lines: _joined(_stamped(lines, form))


def wrapped(width: int, prefix: str = "") -> Disguise:
    """As mail programs break lines: at blanks, before the width is reached."""

    def disguise(lines: Sequence[str]) -> bytes:
        out: list[str] = []
        for whole in lines:
            line = whole
            while len(line) > width and " " in line[1:width].strip():
                cut = line.rindex(" ", 1, width)
                if not line[:cut].strip():
                    break
                out.append(prefix + line[:cut])
                line = line[cut + 1 :]
            out.append(prefix + line)
        return _joined(out)

    return disguise


def woven(lines: Sequence[str]) -> bytes:
    """Another task prints between any two lines, frames among them; both say who they are."""
    out: list[str] = []
    for at, line in enumerate(lines):
        out.append(f"[  100.{at:06d}][  T77] {line}")
        out.append(f"[  100.{at:06d}][ T9{at % 3}] eth{at % 3}: link is up, {at} credits")
        out.append(f"[  100.{at:06d}][ T9{at % 3}]  foreign_function_{at % 7}+0x1/0x2")
    return _joined(out)


def woven_unstamped(lines: Sequence[str]) -> bytes:
    """A program without stamps writes to the same console."""
    out: list[str] = []
    for at, line in enumerate(_stamped(lines)):
        out += [line, f"2016/11/12 06:52:29 executing program {at % 5}:"]
    return _joined(out)


def torn(lines: Sequence[str]) -> bytes:
    """As 5.4 tears lock lines that are continued: address and name, then the rest; others print between."""
    out: list[str] = []
    for at, line in enumerate(lines):
        cut = line.find("){") if re.search(r"\)\{[.+?-]{4,6}\}", line) else -1
        parts = [line] if cut < 0 else [line[:cut], line[cut:]]
        for part in parts:
            out.append(f"[  100.{at:06d}][   C3] {part}")
            out.append(f"[  100.{at:06d}][ T123] audit: noise {at}")
    return _joined(out)


def shredded(lines: Sequence[str]) -> bytes:
    """As 4.9 does: every part of a lock line is a line."""
    out: list[str] = []
    form = re.compile(r"(.*?)(\()(.+?)(\)\{[^}]*\}(?:-\{\d:\d\})?)(, at: )(\[<[0-9a-f]+>\] )?(\S.*)")
    for line in lines:
        found = form.fullmatch(line)
        out += [part for part in found.groups() if part] if found else [line]
    return _joined(_stamped(out))


def quoted_printable(lines: Sequence[str]) -> bytes:
    """A mail in quoted-printable, with soft breaks."""
    head = b"From: bot\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n"
    return head + quopri.encodestring(_joined(lines))


def as_base64(lines: Sequence[str]) -> bytes:
    """A mail in base64."""
    return b"From: bot\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(_joined(lines))


def as_json(lines: Sequence[str]) -> bytes:
    """The whole log as a string of one line of JSON."""
    return json.dumps({"log": "\n".join(_stamped(lines))}).encode() + b"\n"


def as_html(lines: Sequence[str]) -> bytes:
    """A page."""
    return b"<html><pre>\n" + html.escape("\n".join(lines)).encode() + b"\n</pre></html>\n"


def rsyslogged(lines: Sequence[str]) -> bytes:
    """Newlines as #012, many lines in one record."""
    head = "Mar  4 07:08:09 bakery kernel: "
    return (head + "#012".join(_stamped(lines)) + "\n").encode()


def coloured(lines: Sequence[str]) -> bytes:
    """With colours and CRLF, as CI consoles have it."""
    text = [f"2024-05-06T07:08:09.1234567Z \x1b[31m{line}\x1b[0m\r" for line in _stamped(lines)]
    return _joined(text)


def utf16(lines: Sequence[str]) -> bytes:
    """As an editor on Windows saves it."""
    return "\r\n".join(_stamped(lines)).encode("utf-16")


DISGUISES: dict[str, Disguise] = {
    "bare": _joined,
    "stamp": prefixed("[{at:12.6f}] "),
    "caller": prefixed("[{at:12.6f}][   T77] "),
    "caller-blank": prefixed("[{at:12.6f}] [   T77] "),
    "level": prefixed("<4>[{at:12.6f}] "),
    "facility": prefixed("kern  :warn  : [{at:12.6f}] "),
    "dmesg-T": prefixed("[Mon Jan  2 03:04:05 2023] "),
    "journal": prefixed("Mar  4 07:08:09 bakery kernel: "),
    "journal-stamp": prefixed("Mar  4 07:08:09 bakery kernel: [{at:12.6f}] "),
    "iso": prefixed("2024-05-06T07:08:09.1234567Z [{at:12.6f}] "),
    "iso-host": prefixed("2024-05-06T07:08:09+0200 bakery kernel: [{at:12.6f}] "),
    "quote": prefixed("> "),
    "quote-deep": prefixed("> >> > "),
    "quote-stamp": prefixed("> > [{at:12.6f}] "),
    "bar": prefixed("| "),
    "plus": prefixed("+ "),
    "indent": prefixed("    "),
    "tab": prefixed("\t[{at:12.6f}] "),
    "wrapped-78": wrapped(78),
    "wrapped-72-quoted": wrapped(72, "> "),
    "woven": woven,
    "woven-unstamped": woven_unstamped,
    "torn": torn,
    "shredded": shredded,
    "quoted-printable": quoted_printable,
    "base64": as_base64,
    "json": as_json,
    "html": as_html,
    "rsyslog": rsyslogged,
    "coloured": coloured,
    "utf-16": utf16,
}
