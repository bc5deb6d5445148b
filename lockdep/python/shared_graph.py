"""What one process has seen, for another one to add to what it knows: the workers of pytest-xdist.

A stack of locks in which a thread waited is plain values on its way: classes by name and place, lines,
threads. The receiver lets a validator of its own take the stacks of all, one after the other: an inversion
between two processes, or a cycle that a common lock guards, comes out as in one.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType, FrameType
from typing import Any

from sugarbush.lockdep.model import LockClassKey, LockMap, RawFrame, TaskContext, Trace, Tracer, resolve
from sugarbush.lockdep.python.plain import PlainLockdep
from sugarbush.lockdep.python.program import Program
from sugarbush.lockdep.python.sites import SiteKey
from sugarbush.lockdep.reports import Report, ReportKind


def graph_of(program: Program) -> dict[str, Any]:
    """The stacks of a process, as values that JSON takes."""
    lockdep = program.lockdep
    stacks = []
    for chain in lockdep.state().waits:
        entries = [*reversed(list(chain.held())), chain]
        if len({entry.lock_class for entry in entries}) < len(entries) or len(entries) < 2:
            # Two of one class: their instances decide, and those are not of this world.
            continue
        if any(entry.lock_class.number in lockdep.by_instance for entry in entries):
            continue
        stacks.append(
            {
                "by": str(chain.by),
                "locks": [
                    {
                        "name": entry.lock_class.title,
                        "made": entry.lock_class.key.place
                        if isinstance(entry.lock_class.key, SiteKey)
                        else "",
                        "many": entry.lock_class.family.instances > 1,
                        "try": not entry.waits,
                        "stack": [tuple(frame) for frame in entry.trace.resolve()],
                    }
                    for entry in entries
                ],
            }
        )
    return {"stacks": stacks, "reports": [report.key for report in lockdep.reports]}


class _Recorded(Tracer):
    """Gives, instead of the caller's stack, the one that was recorded in another process."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        super().__init__(("sugarbush.lockdep",))
        self.now = Trace(())

    def capture(self) -> Trace:
        return self.now

    def site(self, frame: FrameType) -> RawFrame:  # noqa: ARG002
        return self.now.site


def united(graphs: Iterable[dict[str, Any]]) -> tuple[list[Report], dict[str, str]]:
    """The cycles that only all processes together show, and where the locks in them are made."""
    # Each stack is taken by a task of its own, which gives nothing back: one that released would need to say when,
    # and all that is known is the order in which it took.
    task = [TaskContext("nobody", 0)]
    lockdep = PlainLockdep(lambda: task[0])
    tracer = _Recorded()
    lockdep.use_tracer(tracer)
    keys: dict[tuple[str, str], list[LockMap]] = {}
    known: set[str] = set()
    places: dict[str, str] = {}
    number = 0
    for graph in graphs:
        known |= set(graph["reports"])
        for stack in graph["stacks"]:
            number += 1
            task[0] = TaskContext(str(stack["by"]).rpartition("/")[0], number)
            for row in stack["locks"]:
                name, made = row["name"], row["made"]
                places[name] = made
                maps = keys.get((name, made))
                if maps is None:
                    key = LockClassKey(name)
                    maps = keys[name, made] = [LockMap(key), LockMap(key)]
                if row["many"] and not maps[1].number:
                    # A class of several locks guards nothing: the validator has to see two.
                    lockdep.acquire(maps[1], trylock=True)
                    lockdep.release(maps[1])
                tracer.now = Trace(tuple(_raw(*frame) for frame in row["stack"]))
                lockdep.acquire(maps[0], trylock=row["try"])
    found = [
        report for report in lockdep.reports if report.kind is ReportKind.CIRCULAR and report.key not in known
    ]
    return found, places


def _raw(function: str, file: str, line: int) -> RawFrame:
    code: CodeType = compile("", file, "exec")
    code = code.replace(
        co_name=function.rpartition(".")[2], co_qualname=function, co_firstlineno=max(line, 0)
    )
    # No instruction is there: a line is then the first one of the code.
    raw = code, -1
    assert resolve(raw).line == max(line, 0)
    return raw
