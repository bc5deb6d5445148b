"""What makes two reports one: the same cycle, whatever the log, the kernel, the addresses and the edge that
closed it.

A class is its name without the number of its registration (``#2`` differs by boot) and with its subclass;
spellings that changed are the newer ones. Two classes of one base name in one cycle are two, numbered as the
cycle meets them. A cycle is turned so that it is least: a report tells it from the edge that happened to be
new. Direction matters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from sugarbush.lockdep.model import ReportKind, Stack
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.titles import own

_PARTED: Final = re.compile(r"(#\d+)?(/\d+)?$")
_RLOCK: Final = re.compile(r"^&\(&(?P<lock>.+)\)->rlock$|^&(?P<plain>.+)->rlock$|^\(&(?P<paren>.+)\)->rlock$")
_WORK: Final = re.compile(r"^\((?:work_completion\))?\(?(?P<work>&.+?)\)?\)?$")
_INSTANCE: Final = re.compile(r"(?<=[A-Za-z_\-])\d+$")
_KEY: Final = re.compile(r"__key\.\d+")
_RENAMED: Final = {
    "mmap_sem": "mmap_lock",
    "i_mutex_key": "i_mutex_key",
    "cpu_hotplug.lock": "cpu_hotplug_lock",
    "cpu_hotplug_lock.rw_sem": "cpu_hotplug_lock",
}
"""Of fields that got another name (5.8: mmap_sem; 5.13 and before: cpu_hotplug_lock.rw_sem)."""


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A class name without what differs from boot to boot, in its newest spelling; ``#n`` and ``/m`` are
    left.

    >>> plain("&mm->mmap_sem#2"), plain("&(&list->lock)->rlock"), plain("(wq_completion)loop7")
    ('&mm->mmap_lock#2', '&list->lock', '(wq_completion)loop')
    """
    base, number, subclass = parted(name)
    found = _RLOCK.match(base)
    if found is not None:
        inner = found["lock"] or found["plain"] or found["paren"]
        base = inner if inner.startswith("&") or inner.isidentifier() else f"&{inner}"
    if base.startswith("(wq_completion)"):
        base = _INSTANCE.sub("", base)
    elif base.startswith(("(&", "(work_completion)")):
        inner = base.removeprefix("(work_completion)")
        while inner.startswith("(") and inner.endswith(")"):
            inner = inner[1:-1]
        if inner.startswith("&(&") and inner.endswith(")->work"):
            # A delayed work is a work in a struct: both are told by the outer one.
            inner = f"&{inner[3:]}".replace(")->work", "->work")
        base = f"(work_completion){inner}"
    base = _KEY.sub("__key", base)
    for old, new in _RENAMED.items():
        if base.endswith(old):
            base = base.removesuffix(old) + new
    return base + number + subclass


def parted(name: str) -> tuple[str, str, str]:
    """A name as printed: base, ``#n`` or "", ``/m`` or ""."""
    if name[-1:].isdigit():
        found = _PARTED.search(name)
        assert found is not None
    else:
        return name, "", ""
    return name[: found.start()], found[1] or "", found[2] or ""


def numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Names without ``#n``; where one base has several in this row they are numbered as the row meets them."""
    split = [parted(plain(name)) for name in names]
    seen: dict[str, list[str]] = {}
    for base, number, _ in split:
        numbers = seen.setdefault(base, [])
        if number not in numbers:
            numbers.append(number)
    return tuple(
        base + (f"#{seen[base].index(number) + 1}" if len(seen[base]) > 1 else "") + subclass
        for base, number, subclass in split
    )


def turned(names: Sequence[str]) -> tuple[str, ...]:
    """A cycle from where it is least, so that a report of any of its edges gives the same.

    >>> turned(("b", "c", "a")), turned(("a#3", "b", "a#1"))
    (('a', 'b', 'c'), ('a#1', 'a#2', 'b'))
    """
    return min(numbered([*names[at:], *names[:at]]) for at in range(len(names)))


def key_of(report: LogReport) -> str:
    """What is equal for two reports of one cause, as text; "" for an incomplete one."""
    if not report.complete:
        return ""
    if report.reporter != "lockdep":
        return _of_another(report)
    kind = report.word
    if report.kind is ReportKind.CIRCULAR:
        return f"{kind}: " + " -> ".join(turned(report.cycle))
    if report.kind is ReportKind.RECURSIVE:
        return f"{kind}: " + " -> ".join(numbered(report.cycle))
    states = "/".join(report.states)
    if report.kind is ReportKind.IRQ_ORDER:
        assert report.owned is not None
        assert report.wanted is not None
        path = (report.safe, report.owned.name, report.wanted.name, report.unsafe)
        return f"{kind}: {states}: " + " -> ".join(numbered(path))
    if report.kind in (ReportKind.INVERSION, ReportKind.INCONSISTENT):
        return f"{kind}: {states}: " + " -> ".join(numbered(report.cycle))
    function = _function(report)
    if report.kind in _BY_HELD:
        held = sorted({parted(plain(line.name))[0] + parted(plain(line.name))[2] for line in report.held})
        message = "" if report.kind is ReportKind.SLEEP_IN_ATOMIC else re.sub(r"\s+", " ", report.message)
        return f"{kind}: {message}: {', '.join(held)}: {function}"
    if report.kind is ReportKind.ALL_LOCKS:
        return ""
    classes = " -> ".join(numbered(report.cycle))
    what = (
        report.message
        if report.kind is ReportKind.DATA_RACE
        else re.sub(r"\d+", "N", report.headline)
        if report.kind is ReportKind.TABLE
        else ""
    )
    return f"{kind}: {classes}{what}: {function}"


def _of_another(report: LogReport) -> str:
    """Other checkers number their locks, or give addresses: such a lock is told by who takes it."""
    if not report.links:
        return f"{report.reporter} {report.word}: {report.message}"
    edges = report.edges
    names = [
        (f"lock of {_first(stack)}" if _NAMELESS.search(wanted) else wanted) for _, wanted, stack in edges
    ]
    return f"{report.reporter} {report.word}: " + " -> ".join(turned([*names[-1:], *names[:-1]]))


def _first(stack: Stack) -> str:
    frame = own(stack)
    return frame.function if frame else "?"


_NAMELESS: Final = re.compile(r"^M\d+$|^(?:.*@)?0x[0-9a-f]+$")
_BY_HELD: Final = (
    ReportKind.WAIT_CONTEXT,
    ReportKind.RCU,
    ReportKind.SLEEP_IN_ATOMIC,
    ReportKind.RETURN_TO_USER,
    ReportKind.TASK_EXIT,
)


def _function(report: LogReport) -> str:
    frame = own(report.stack)
    if frame is None and report.wanted is not None:
        return report.wanted.site.function
    if frame is None and report.held:
        return report.held[-1].site.function
    return frame.function if frame else ""


def identity(report: LogReport) -> str:
    """A short name for `key_of`, for files and lists: the kind and twelve hexadecimal digits; "" if there is
    none.
    """
    key = report.key or key_of(report)
    return f"{report.word}-{hashlib.sha256(key.encode()).hexdigest()[:12]}" if key else ""


def path_of(report: LogReport) -> str:
    """The finer identity: with the first own function of every step. Same cycle, other path: another one."""
    if not report.key:
        return ""
    steps = report.edges
    if not steps:
        return report.key
    functions = [frame.function if frame else "?" for frame in (own(stack) for _, _, stack in steps)]
    turns = [functions[at:] + functions[:at] for at in range(len(functions))]
    return f"{report.key} by {' -> '.join(min(turns))}"


def base(name: str) -> str:
    """A class name without ``#n``, in its newest spelling."""
    first, _, subclass = parted(plain(name))
    return first + subclass


def steps_of(cycle: Sequence[str]) -> frozenset[tuple[str, str]]:
    """The steps of a cycle between classes without ``#n``, for the coarser comparison: cycles that share one."""
    names = [base(name) for name in cycle]
    return frozenset(zip(names, names[1:] + names[:1], strict=True))
