"""What meets the world outside: the root of all errors, files read and written, exit statuses."""

from sugarbush.lockdep.outside.command import (
    INTERRUPTED,
    UNUSABLE,
    complain,
    ended,
    hear_signals,
    undisturbed,
)
from sugarbush.lockdep.outside.errors import SugarbushError, spelt
from sugarbush.lockdep.outside.files import (
    Identity,
    UnusableFile,
    check_schema,
    check_writable,
    identity,
    read_bytes,
    read_json,
    read_text,
    reason,
    save_text,
    shown,
    write_text,
)

__all__ = [
    "INTERRUPTED",
    "UNUSABLE",
    "Identity",
    "SugarbushError",
    "UnusableFile",
    "check_schema",
    "check_writable",
    "complain",
    "ended",
    "hear_signals",
    "identity",
    "read_bytes",
    "read_json",
    "read_text",
    "reason",
    "save_text",
    "shown",
    "spelt",
    "undisturbed",
    "write_text",
]
