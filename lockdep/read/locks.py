"""Lock lines, whole and torn: ``ADDRESS (NAME){USAGE}-{OUTER:INNER}, at: PLACE``."""

from __future__ import annotations

import re
from typing import Final

from sugarbush.lockdep.model import ClassLine, LockLine
from sugarbush.lockdep.read.frames import site_of
from sugarbush.lockdep.read.model import UNKNOWN

_ADDRESS: Final = r"(?:0x)?[0-9a-f]{4,16}|\(?_*ptrval_*\)?"
_CLASS: Final = r"\((?P<name>.+?)\)\s*\{(?P<usage>[.+?\-]{4,8})\}(?:-\{(?P<outer>\d+):(?P<inner>\d+)\})?"
LOCK: Final = re.compile(
    rf"(?:(?P<address>{_ADDRESS})\s*)?{_CLASS}(?:\s*,?\s*at:\s*(?P<site>(?:\[<[^>]*>\]\s*)?[^\s\[].*))?"
)
"""A lock or class line from its address or name on."""
WHOLE: Final = re.compile(
    rf"(?:#(?P<held>\d+): +|-> #(?P<link>\d+) )?(?:(?P<address>{_ADDRESS}) )?{_CLASS}"
    r"(?::|, at: (?P<site>(?:\[<[0-9a-f]+>\] )?[^\s+()]+\+0x[0-9a-f]+/0x[0-9a-f]+))$"
)
"""A record as kernels print nearly all: nothing to put together, and nothing run together with it."""
PARTIAL: Final = re.compile(
    rf"(?:(?:{_ADDRESS})\s*)?"
    r"(?:\((?P<name>[^{}]{0,160}?)(?:\)\s*(?:\{[.+?\-]{0,8}(?:\}(?:-(?:\{(?:\d+(?::(?:\d+\}?)?)?)?)?)?"
    r"(?:\s*,\s*(?:at(?::\s*(?:\[<[0-9a-f]*>?\]?)?\s*)?)?)?)?)?)?)?$"
)
"""The beginning of a lock line, broken off anywhere."""
_PRINTED: Final = re.compile(r"\s+\w+=.*$")
"""What the printer of an ordering function puts behind the name (6.4): ``&b->lock l=0 7:9``."""


def class_name(printed: str) -> str:
    """The name of the class, without what a printer added."""
    return _PRINTED.sub("", printed.strip()) if "=" in printed else printed.strip()


def lock_line(found: re.Match[str]) -> LockLine:
    """The values of a whole lock line."""
    address = found["address"]
    known = address is not None and "ptrval" not in address
    return LockLine(
        int(address, 16) if known else UNKNOWN,
        class_name(found["name"]),
        found["usage"],
        int(found["outer"] or UNKNOWN),
        int(found["inner"] or UNKNOWN),
        site_of(found["site"] or ""),
    )


def class_line(found: re.Match[str]) -> ClassLine:
    """The values of a class line."""
    return ClassLine(
        class_name(found["name"]),
        found["usage"],
        int(found["outer"] or UNKNOWN),
        int(found["inner"] or UNKNOWN),
    )


def joined(first: str, more: str) -> str:
    """Two parts of one record. Words that a wrap parted get their blank back; parts of a torn one never had
    one.
    """
    first, more = first.rstrip(), more.strip()
    word = first[-1:].isalnum() and more[:1].isalnum()
    return f"{first} {more}" if word or first.endswith(("at:", ",")) else first + more
