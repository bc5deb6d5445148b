"""Readers of what other lock checkers print, one a file, behind the faces of `base`: `OtherReader` and
`OtherReading`.

A new one is a file with a class like those, and its name in `READERS`.
"""

from typing import Final

from sugarbush.lockdep.read.others.base import OtherReader, OtherReading
from sugarbush.lockdep.read.others.go import Go
from sugarbush.lockdep.read.others.helgrind import Helgrind
from sugarbush.lockdep.read.others.java import Java
from sugarbush.lockdep.read.others.optee import OpTee
from sugarbush.lockdep.read.others.tsan import Tsan
from sugarbush.lockdep.read.others.witness import Witness

READERS: Final[tuple[type[OtherReader], ...]] = (Tsan, Witness, OpTee, Java, Go, Helgrind)
PARTS: Final = tuple(part for reader in READERS for part in reader.parts)


def opened(text: str) -> OtherReading | None:
    """A reading if this line opens a report of any of them."""
    for reader in READERS:
        if any(part in text for part in reader.parts):
            reading = reader.opened(text)
            if reading is not None:
                return reading
    return None


__all__ = ["PARTS", "READERS", "OtherReader", "OtherReading", "opened"]
