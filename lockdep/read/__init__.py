"""Reads lock reports that others printed: kernel logs of any version and shape, and what other checkers say.

This is the only door. `read_stream` and `read_text` give `LogReport` values, which are `lockdep.Report`s;
`gather` makes findings of them, each cause once; `told`, `to_json`, `to_sarif`, `to_page` and `snapshot_of`
show findings.

>>> import io
>>> from lockdep.read import gather, read_stream
>>> findings = gather(read_stream(io.BytesIO(b"nothing in it"), "dmesg"))
>>> findings
[]
"""

from lockdep.read.explain import Question, Step, mode_of, questions, schedule, steps, words
from lockdep.read.gather import FORMAT, Finding, dumps, gather, read_baseline, to_json
from lockdep.read.graphs import snapshot_of
from lockdep.read.identity import identity, key_of, parted, path_of, plain, steps_of, turned
from lockdep.read.model import UNKNOWN, WORDS, LogReport
from lockdep.read.page import to_page
from lockdep.read.sarif import to_sarif
from lockdep.read.scan import read_stream, read_text
from lockdep.read.titles import is_own, own
from lockdep.read.told import harmless, told

__all__ = [
    "FORMAT",
    "UNKNOWN",
    "WORDS",
    "Finding",
    "LogReport",
    "Question",
    "Step",
    "dumps",
    "gather",
    "harmless",
    "identity",
    "is_own",
    "key_of",
    "mode_of",
    "own",
    "parted",
    "path_of",
    "plain",
    "questions",
    "read_baseline",
    "read_stream",
    "read_text",
    "schedule",
    "snapshot_of",
    "steps",
    "steps_of",
    "to_json",
    "to_page",
    "to_sarif",
    "told",
    "turned",
    "words",
]
