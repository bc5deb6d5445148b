"""Reads lock reports that others printed: kernel logs of any version and shape, and what other checkers say.

This is the only door. `read_stream` and `read_text` give `LogReport` values, which are `lockdep.Report`s.
"""

from lockdep.read.identity import identity, key_of, path_of, plain, steps_of, turned
from lockdep.read.model import UNKNOWN, WORDS, LogReport
from lockdep.read.scan import read_stream, read_text

__all__ = [
    "UNKNOWN",
    "WORDS",
    "LogReport",
    "identity",
    "key_of",
    "path_of",
    "plain",
    "read_stream",
    "read_text",
    "steps_of",
    "turned",
]
