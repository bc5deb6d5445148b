"""Who probably waits for whom, from the lists of held locks that a hang leaves in a log.

The kernel lists a lock from the moment on at which it is asked for. So a lock that stands in the lists of two
tasks is held by one of them, and the last line of a blocked task is often what it waits for. What is no more
than likely is said as "probably"; where the list does not tell, nobody is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sugarbush.lockdep.model import LockLine, ReportKind, TaskLine
from sugarbush.lockdep.read.model import UNKNOWN, LogReport

_SHARED = ("rcu_read_lock", "rcu_callback", "srcu", "tasklist_lock")
"""Held by any number of tasks at once: nobody waits for such a holder in this list."""


@dataclass(frozen=True, slots=True)
class Wait:
    """`waiter` probably waits for `holder`, who has `lock`; `sure` if the holder's list goes on behind the
    lock.
    """

    waiter: TaskLine
    holder: TaskLine
    lock: str
    sure: bool


def waits(reports: Iterable[LogReport]) -> tuple[Wait, ...]:
    """The waits that the lists of one log show; reports of blocked tasks in the same log tell who is blocked."""
    found: list[Wait] = []
    blocked: set[tuple[str, int]] = set()
    lists: list[LogReport] = []
    for report in reports:
        if report.kind is ReportKind.HUNG:
            blocked.add((report.task.comm, report.task.pid))
        elif report.kind is ReportKind.ALL_LOCKS:
            lists.append(report)
    # A later list of the same hang has the same tasks, and the last one is the whole picture; two lists taken
    # together would show waits that were over in between.
    for one in lists[-1:]:
        found += _of_list(one.tasks, blocked)
    return tuple(dict.fromkeys(found))


def _of_list(
    tasks: tuple[tuple[TaskLine, tuple[LockLine, ...]], ...], blocked: set[tuple[str, int]]
) -> Iterator[Wait]:
    places: dict[object, list[tuple[TaskLine, bool]]] = {}
    names: dict[object, str] = {}
    for task, lines in tasks:
        for at, line in enumerate(lines):
            if line.name.startswith(_SHARED):
                continue
            # An address that the kernel hid tells nothing apart: then the class must do.
            which: object = line.name if line.address == UNKNOWN else line.address
            places.setdefault(which, []).append((task, at == len(lines) - 1))
            names[which] = line.name
    for which, holders in places.items():
        if len({(task.comm, task.pid) for task, _ in holders}) < 2:
            continue
        # A task whose list goes on behind a lock has taken another one after it, and so has it. One for which it is
        # the last may have it, or wait for it: then whether the task is known to be blocked decides, and if that
        # leaves several possible holders nobody is named.
        going_on = [task for task, is_last in holders if not is_last]
        last = [task for task, is_last in holders if is_last]
        if len(going_on) == 1:
            yield from (Wait(task, going_on[0], names[which], True) for task in last)
        elif not going_on:
            running = [task for task in last if (task.comm, task.pid) not in blocked]
            stuck = [task for task in last if (task.comm, task.pid) in blocked]
            if len(running) == 1:
                yield from (Wait(task, running[0], names[which], False) for task in stuck)


def circles(found: Iterable[Wait]) -> list[tuple[Wait, ...]]:
    """The circles of waits, each once, from the first task that stands in it."""
    after: dict[TaskLine, list[Wait]] = {}
    for wait in found:
        after.setdefault(wait.waiter, []).append(wait)
    circles: list[tuple[Wait, ...]] = []
    seen: set[frozenset[Wait]] = set()
    for start in after:
        path: list[Wait] = []
        at = start
        visited: set[TaskLine] = set()
        while at in after and at not in visited:
            visited.add(at)
            path.append(after[at][0])
            at = path[-1].holder
        ring = tuple(path)[next((n for n, wait in enumerate(path) if wait.waiter == at), len(path)) :]
        if ring and frozenset(ring) not in seen:
            seen.add(frozenset(ring))
            circles.append(ring)
    return circles


def told_waits(reports: Iterable[LogReport]) -> str:
    """The waits as text; "" where no list tells of any."""
    found = waits(reports)
    if not found:
        return ""
    lines = ["Who probably waits for whom:"]
    for wait in found:
        how = "which that one holds" if wait.sure else "which that one probably holds"
        lines.append(f"  {wait.waiter} waits for {wait.holder}: ({wait.lock}), {how}")
    lines += [
        f"  a circle: {' -> '.join(str(wait.waiter) for wait in ring)} -> {ring[0].waiter}"
        for ring in circles(found)
    ]
    return "\n".join(lines) + "\n"


def waits_json(reports: Iterable[LogReport]) -> list[dict[str, object]]:
    """The waits as values for JSON; `circle` says whether one is part of a circle."""
    found = waits(reports)
    in_circles = {wait for ring in circles(found) for wait in ring}
    return [
        {
            "waiter": str(wait.waiter),
            "holder": str(wait.holder),
            "lock": wait.lock,
            "sure": wait.sure,
            "circle": wait in in_circles,
        }
        for wait in found
    ]


def waits_dot(reports: Iterable[LogReport]) -> str:
    """The waits for Graphviz; those of a circle are red."""
    found = waits(reports)
    red = {wait for ring in circles(found) for wait in ring}
    lines = ["digraph waits {", "  node [shape=box, fontname=monospace];"]
    for wait in found:
        colour = ", color=red" if wait in red else ""
        lines.append(
            f"  {_quoted(str(wait.waiter))} -> {_quoted(str(wait.holder))} [label={_quoted(wait.lock)}{colour}];"
        )
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
