"""Reads lock reports that others printed: kernel logs of any version and shape, and what other checkers say.

This is the only door. `read_stream` and `read_text` give `LogReport` values, which are `sugarbush.lockdep.Report`s;
`gather` makes findings of them, each cause once; `as_text`, `to_json`, `to_sarif`, `to_page` and `snapshot_of`
show findings.

>>> import io
>>> from sugarbush.lockdep.read import gather, read_stream
>>> findings = gather(read_stream(io.BytesIO(b"nothing in it"), "dmesg"))
>>> findings
[]
"""

from sugarbush.lockdep.read.events import feed_stream
from sugarbush.lockdep.read.explain import Question, Step, mode_of, questions, schedule, steps, words
from sugarbush.lockdep.read.files import STDIN, is_log, opened, reports_of
from sugarbush.lockdep.read.gathering import FORMAT, Finding, dumps, gather, read_baseline, to_json
from sugarbush.lockdep.read.graphs import snapshot_of
from sugarbush.lockdep.read.identities import identity, key_of, parted, path_of, plain, steps_of, turned
from sugarbush.lockdep.read.join import joined
from sugarbush.lockdep.read.model import UNKNOWN, WORDS, LogReport
from sugarbush.lockdep.read.page import to_page
from sugarbush.lockdep.read.procfs import between, is_proc, judge, read_proc
from sugarbush.lockdep.read.sarif import to_sarif
from sugarbush.lockdep.read.scan import read_stream, read_text
from sugarbush.lockdep.read.scenario import to_scenario
from sugarbush.lockdep.read.titles import is_own, own
from sugarbush.lockdep.read.waitfor import told_waits, waits_json
from sugarbush.lockdep.read.wording import as_text, harmless

__all__ = [
    "FORMAT",
    "STDIN",
    "UNKNOWN",
    "WORDS",
    "Finding",
    "LogReport",
    "Question",
    "Step",
    "as_text",
    "between",
    "dumps",
    "feed_stream",
    "gather",
    "harmless",
    "identity",
    "is_log",
    "is_own",
    "is_proc",
    "joined",
    "judge",
    "key_of",
    "mode_of",
    "opened",
    "own",
    "parted",
    "path_of",
    "plain",
    "questions",
    "read_baseline",
    "read_proc",
    "read_stream",
    "read_text",
    "reports_of",
    "schedule",
    "snapshot_of",
    "steps",
    "steps_of",
    "to_json",
    "to_page",
    "to_sarif",
    "to_scenario",
    "told_waits",
    "turned",
    "waits_json",
    "words",
]
