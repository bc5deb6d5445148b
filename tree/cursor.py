"""Where a cursor can stand."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """The state of a cursor. In v6.6 these are special values of its node word, in v6.12 an enumeration."""

    START = "START"
    """Not walked yet."""
    ACTIVE = "ACTIVE"
    """In a node."""
    ROOT = "ROOT"
    """At the entry that lies in the root word."""
    NONE = "NONE"
    """There is nothing here."""
    PAUSE = "PAUSE"
    """The loop is paused, and the lock may be dropped."""
    OVERFLOW = "OVERFLOW"
    """Searched past the upper limit."""
    UNDERFLOW = "UNDERFLOW"
    """Searched past the lower limit."""
