r"""Lines of a log without what consoles, daemons, mails and pages put around them.

A raw line becomes one or several `Line`: what the printing kernel wrote, who wrote it (``[T12]``, ``[C0]``, a
host), and whether there was a time stamp. Escapes are undone: ANSI colours, HTML entities, ``#012`` of
rsyslog, the ``\\n`` of JSON.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

STAMP: Final = re.compile(r"\[ *(\d+\.\d{3,9})\](?:\[ *([TC]\d+)\]| \[ *([TC]\d+)\])? ?")
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|\^\[\[[0-9;]*m")
_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_FACILITY: Final = r"(?:kern|user|mail|daemon|auth|syslog|lpr|news|authpriv|ftp|local\d)"
_LEVEL: Final = r"(?:emerg|alert|crit|err|warn|notice|info|debug)"
_PREFIX: Final = re.compile(
    r"<\d{1,3}>"
    rf"|{_FACILITY} *: *{_LEVEL} *: ?"
    rf"|\[{_DAY} {_MONTH} +\d+ \d\d:\d\d:\d\d(?:\.\d+)? \d{{4}}\] ?"
    rf"|{_MONTH} +\d+ \d\d:\d\d:\d\d (?P<host>[\w.\-]+) kernel(?:\[\d+\])?: ?"
    r"|\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?Z| ?[+-]\d\d:?\d\d)?\]?(?: "
    r"(?P<other>[\w.\-]+) kernel(?:\[\d+\])?:)? ?"
    r"|kernel: ?"
    r"|>+ ?|\| ?|\+(?: |$)|[ \t]+(?=\[ *\d+\.\d{3,9}\]|<\d)|\[\.\.\.\] ?"
    r"|[\w.\-]{1,40} login: (?=\[)"
)
_STAMP_PREFIXES: Final = ("<", "[", *"0123456789", "k", "J", "F", "M", "A", "S", "O", "N", "D")
_ENTITY: Final = re.compile(r"&(?:gt|lt|amp|quot|apos|nbsp|#\d+|#x[0-9a-fA-F]+);")
_FIELD: Final = re.compile(r'^[\s{\[,]*(?:"[^"]*"\s*:\s*)?"')
"""What stands before a text in JSON."""
_MANY: Final = 3
"""So many escaped newlines in a line mean that it holds a text; one or two stand in source code."""
_MESSAGES: Final = re.compile(r"(?<=.)(?=\[ *\d{1,7}\.\d{6}\](?:\[ *[TC]\d+\])? )")


class Line(NamedTuple):
    """What one record says: `who` printed it, `stamp` seconds since boot (None: no stamp), `quoted` any other
    mark.
    """

    text: str
    who: str
    stamp: float | None
    marked: bool
    indented: bool


def unescaped(raw: str) -> Iterator[str]:
    """The lines that a line of a file holds, without colours and escapes."""
    if "\x1b" in raw or "^[[" in raw:
        raw = _ANSI.sub("", raw)
    if "&" in raw:
        for _ in range(3):
            if _ENTITY.search(raw) is None:
                break
            raw = html.unescape(raw)
    if "#012" in raw:
        raw = raw.replace("#012", "\n").replace("#011", "\t")
    if raw.count("\\n") >= _MANY:
        raw = _FIELD.sub("", raw)
        raw = (
            raw.replace("\\r", "")
            .replace("\\n", "\n")
            .replace("\\t", "\t")
            .replace('\\"', '"')
            .replace("\\/", "/")
        )
        raw = (
            raw.replace("\\u003e", ">").replace("\\u003c", "<").replace("\\u0026", "&").replace("\\\\", "\\")
        )
    if "\n" in raw:
        yield from raw.split("\n")
    else:
        yield raw


def stripped(raw: str) -> Line:
    """A line without its prefixes."""
    found = STAMP.match(raw)
    if found is not None:
        text = raw[found.end() :]
        return Line(text.rstrip(), found[2] or found[3] or "", float(found[1]), True, text[:1] in " \t")
    at, host, who, stamp, marked = 0, "", "", None, False
    for _ in range(12):
        found = STAMP.match(raw, at)
        if found is not None:
            who = found[2] or found[3] or who
            stamp = float(found[1])
        else:
            found = _PREFIX.match(raw, at)
            if found is None:
                break
            host = found["host"] or found["other"] or host
        if found.end() == at:
            break
        marked = True
        at = found.end()
    text = raw[at:]
    return Line(text.rstrip(), f"{host} {who}" if host else who, stamp, marked, text[:1] in " \t")


def messages(raw: str) -> list[str]:
    """A line in which a second message begins (two printed at once, or a prompt before it), parted."""
    if "] " not in raw[12:] and "][" not in raw[12:]:
        return [raw]
    return [part for part in _MESSAGES.split(raw) if part] if _MESSAGES.search(raw, 14) else [raw]
