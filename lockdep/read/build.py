"""From what was read of a report to the report; and whether it is whole.

A cycle is believed only if every part of the report says the same: the links are all there, the lowest is the
wanted lock and the highest the held one, the table and the chain line name classes of it, and one task did it
all. Lines of a second report behind a cut one would else close a cycle that nobody printed.
"""

from __future__ import annotations

import re
from typing import Final

from sugarbush.lockdep.model import ReportKind, TaskLine
from sugarbush.lockdep.read.frames import site_of, stack_of
from sugarbush.lockdep.read.locks import class_line, class_name, lock_line
from sugarbush.lockdep.read.model import NOBODY, NOWHERE, LogReport, TableRow
from sugarbush.lockdep.read.reading import Reading
from sugarbush.lockdep.reports import ClassBlock, Link, UsageTrace

_ALONE: Final = (ReportKind.TABLE, ReportKind.DATA_RACE, ReportKind.SUBCLASS)
"""Kinds that one line says all of."""
_WITH_STACK: Final = (
    ReportKind.KEY,
    ReportKind.SLEEP_IN_ATOMIC,
    ReportKind.SCHEDULE_IN_ATOMIC,
    ReportKind.HUNG,
    ReportKind.STALL,
    ReportKind.WORKER_LEAK,
)


def is_report(reading: Reading) -> bool:
    """Whether there is more than words: a line of a kernel's log, or something that only a report has."""
    # Headlines stand in mails, in source code and in documentation as well. In a log of a kernel one is believed;
    # elsewhere something must follow that only a report has.
    if reading.kind is ReportKind.UNKNOWN:
        return reading.links != [] or ("wanted" in reading.locks and "owned" in reading.locks)
    if reading.kind is ReportKind.ALL_LOCKS:
        return bool(reading.held_rows)
    return reading.stamped or reading.evidence > 0 or reading.framed or bool(reading.closing)


def built(reading: Reading) -> LogReport:
    """The report, without `key` and `title`."""
    kind = _kind(reading)
    locks = {slot: lock_line(found) for slot, found in reading.locks.items()}
    names = {slot: line.name for slot, line in locks.items()}
    links = tuple(
        Link(class_line(found), stack_of(stack), "unknown", "", NOWHERE) for _, found, stack in reading.links
    )
    cycle, is_whole = _cycle(reading, kind, names)
    if reading.doubts or _is_short(reading):
        is_whole = False
    return LogReport(
        kind=kind,
        headline=reading.headline.text,
        key="",
        task=TaskLine(reading.task[0], int(reading.task[1])) if reading.task else NOBODY,
        held=tuple(map(lock_line, reading.held)),
        stack=stack_of(reading.closing),
        cycle=cycle,
        complete=is_whole,
        wanted=locks.get("wanted"),
        owned=locks.get("owned"),
        links=links,
        usages=tuple(UsageTrace(usage, stack_of(stack), "unknown") for usage, stack in reading.usages),
        blocks=tuple(
            ClassBlock(
                class_line(block.line),
                -1,
                tuple(UsageTrace(usage, stack_of(stack), "unknown") for usage, stack in block.usages),
                "",
                stack_of(block.acquired),
            )
            for block in reading.blocks
        ),
        safe=names.get("safe", ""),
        unsafe=names.get("unsafe", ""),
        states=tuple(reading.states),
        chain=tuple(map(class_name, reading.chain)),
        table=tuple(TableRow(cpu, verb, class_name(name)) for cpu, verb, name in reading.table),
        site=site_of(reading.site),
        message=reading.message or re.sub(r"\+0x\S+", "", reading.headline.fields.get("race", "")),
        tasks=tuple(
            (TaskLine(comm, int(pid)), tuple(map(lock_line, lines))) for comm, pid, lines in reading.held_rows
        ),
        release=reading.release,
        source=reading.source,
        line=reading.number,
        time=reading.time,
    )


def _kind(reading: Reading) -> ReportKind:
    """The kind of a report whose headline is missing, as far as its sections tell."""
    if reading.kind is not ReportKind.UNKNOWN:
        return reading.kind
    if reading.links:
        return ReportKind.CIRCULAR
    wanted, owned = reading.locks.get("wanted"), reading.locks.get("owned")
    if wanted and owned and class_name(wanted["name"]) == class_name(owned["name"]):
        return ReportKind.RECURSIVE
    return ReportKind.UNKNOWN


def _is_short(reading: Reading) -> bool:
    """Whether the list of held locks has fewer than it says, or is another task's."""
    if reading.kind is ReportKind.ALL_LOCKS:
        return False
    if reading.announced is not None and reading.announced != len(reading.held):
        return True
    return reading.holder is not None and reading.task is not None and reading.holder != reading.task


def _cycle(reading: Reading, kind: ReportKind, names: dict[str, str]) -> tuple[tuple[str, ...], bool]:
    known = tuple(names[slot] for slot in ("wanted", "owned") if slot in names)
    if kind is ReportKind.CIRCULAR:
        return _circle(reading, known)
    if kind is ReportKind.RECURSIVE:
        return known, len(known) == 2 and known[0] == known[1]
    if kind is ReportKind.IRQ_ORDER:
        path = [names[slot] for slot in ("safe", "owned", "wanted", "unsafe") if slot in names]
        is_whole = (
            len(path) == 4 and reading.dependency in (None, (path[1], path[2])) and len(reading.states) == 2
        )
        return tuple(name for at, name in enumerate(path) if at == 0 or path[at - 1] != name), is_whole
    if kind is ReportKind.INVERSION:
        both = tuple(names[slot] for slot in ("wanted", "other") if slot in names)
        return both, len(both) == 2 and len(reading.states) == 2
    if kind is ReportKind.INCONSISTENT:
        return known[:1], "wanted" in names and len(reading.states) == 2
    if kind is ReportKind.BAD_UNLOCK:
        return (reading.message,) if reading.message else (), bool(reading.message)
    if kind is ReportKind.BAD_CONTENTION:
        return (reading.message,) if reading.message else (), bool(reading.message)
    if kind in (ReportKind.WAIT_CONTEXT, ReportKind.HELD_FREED):
        return known[:1], "wanted" in names
    if kind is ReportKind.NEST_LOCK:
        return known[:1], "wanted" in names and bool(reading.message)
    return (), _says_all(reading, kind)


def _says_all(reading: Reading, kind: ReportKind) -> bool:
    """For the kinds that are about no lock order."""
    if kind in _ALONE:
        return True
    if kind in _WITH_STACK:
        return bool(reading.closing)
    if kind is ReportKind.RCU:
        return bool(reading.message) and bool(reading.closing)
    if kind in (ReportKind.RETURN_TO_USER, ReportKind.TASK_EXIT):
        return bool(reading.held)
    return kind is ReportKind.ALL_LOCKS


def _circle(reading: Reading, known: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The cycle from #0 on, and whether it is whole; else what is known of it."""
    indexes = [index for index, _, _ in reading.links]
    names = [class_name(found["name"]) for _, found, _ in reading.links]
    upward = tuple(names[::-1])
    # A report says its cycle several times: by the numbers of the links, the two locks at the top, the chain line and
    # the table. A log that was cut, or mixed with another CPU's, seldom does so in agreement; then the cycle is not
    # given at all, since a wrong one would be taken for a new bug.
    if (
        len(names) < 2
        or indexes != list(range(len(names) - 1, -1, -1))
        or len(known) != 2
        or known != (upward[0], upward[-1])
        or len(set(upward)) != len(upward)
        or not _agree(reading, upward)
    ):
        # What is known in order of mention; a link may be one of another report, so no more than the two locks.
        return known or upward[:1], False
    return upward, True


def _agree(reading: Reading, upward: tuple[str, ...]) -> bool:
    """Whether the chain line and the table, where they are, are about this cycle."""
    if reading.chain:
        chain = [class_name(name) for name in reading.chain]
        if chain[0] != upward[0] or chain[-1] != upward[-1] or not set(chain) <= set(upward):
            return False
    rows = [(cpu, class_name(name)) for cpu, verb, name in reading.table if verb != "interrupt"]
    if not {name for _, name in rows} <= set(upward):
        return False
    left = [name for cpu, name in rows if cpu == 0]
    return len(left) != 2 or left == [upward[-1], upward[0]]
