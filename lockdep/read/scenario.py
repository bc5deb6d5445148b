"""A report as a program that runs: one task for each step of its cycle, with the locks in these orders.

The text is a scenario file for ``sugarbush --load``. It knows nothing but orders: what the log did not say is
assumed, and the head of the file says each assumption. A gate lock and a turned step are options of the file,
so that one can see which of them makes the deadlock go.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Final

from sugarbush.lockdep.model import LockdepError, ReportKind, Stack
from sugarbush.lockdep.read.explain import steps
from sugarbush.lockdep.read.identities import identity
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.scenario_text import ScenarioProgram, ScenarioStep
from sugarbush.lockdep.read.titles import own

_SPIN: Final = re.compile(r"spin_lock|raw_spin")
_RW: Final = re.compile(r"down_read|down_write|read_lock|write_lock|percpu_down|srcu|synchronize")


def to_scenario(report: LogReport, name: str = "") -> str:
    """The text of the file; raises `LockdepError` if the report is no whole cycle, or of a kind that has no
    orders.
    """
    found, assumed = _steps(report)
    kinds = _kinds(report, found, assumed)
    called = name or re.sub(r"[^A-Za-z0-9._-]+", "-", identity(report) or report.word).strip("-")[:80]
    origin = f"{report.source or 'a log'}, line {report.line}"
    return ScenarioProgram(called, report.title or report.headline, origin, found, kinds, assumed).text()


def _steps(report: LogReport) -> tuple[list[ScenarioStep], list[str]]:
    if not report.complete:
        raise LockdepError(
            "this report is cut, so nobody knows its cycle, and no scenario is written: give the whole log"
        )
    assumed = [
        "Each step is made by a task of its own, and the tasks run at the same time.",
        "Each class is one lock: all steps mean the same instance.",
        "Each step works for a while with its first lock alone, so the others can come as far.",
        "No outer lock keeps the steps apart: the report does not tell the outer locks of old steps (try --gate 1).",
    ]
    if report.kind is ReportKind.CIRCULAR:
        return _of_circle(report, assumed), assumed
    if report.kind in (ReportKind.RECURSIVE, ReportKind.INCONSISTENT):
        return [_of_one(report, assumed)], assumed
    if report.kind is ReportKind.IRQ_ORDER:
        assert report.owned is not None
        assert report.wanted is not None
        path = [report.safe, report.owned.name, report.wanted.name, report.unsafe]
        return _of_path(report, path, assumed), assumed
    if report.kind is ReportKind.INVERSION:
        # "took another, unsafe lock": the changed lock is the safe one; "taken by another": the other is.
        path = list(report.cycle) if report.states[1] == "unsafe" else list(report.cycle[::-1])
        return _of_path(report, path, assumed), assumed
    raise LockdepError(
        f"a report of kind {report.word!r} is about no order of locks: there is no scenario to write"
    )


def _of_one(report: LogReport, assumed: list[str]) -> ScenarioStep:
    """One lock, taken again by the task that holds it, or by a handler over it."""
    name = report.cycle[0]
    del assumed[1:]
    if report.kind is ReportKind.RECURSIVE:
        assumed[0] = (
            "One task does it all, and both acquires mean the same instance (--turned 1 makes it two)."
        )
        return ScenarioStep(name, name, "write", "write", _first(report.stack))
    if any("RECLAIM" in state for state in report.states):
        # No handler: the task itself reclaims memory in an allocation that it makes under the lock.
        assumed[0] = (
            "The allocation under the lock comes to reclaim, which takes the same instance (--turned 1: another one)."
        )
        return ScenarioStep(name, name, "write", "write", _first(report.stack))
    context = _context(next((state for state in report.states if state.startswith("IN-")), report.states[1]))
    assumed[0] = (
        "The handler comes in while the lock is held, on the same CPU (--turned 1: when it is free again)."
    )
    if any("NMI" in state for state in report.states):
        assumed.append("The NMI stands here as an interrupt.")
    return ScenarioStep(name, name, "write", "write", _first(report.stack), context)


def _of_circle(report: LogReport, assumed: list[str]) -> list[ScenarioStep]:
    found = []
    for at, step in enumerate(steps(report)):
        mode = "read" if step.mode == "read" else "write"
        held_mode = "read" if step.held_mode == "read" else "write"
        if step.mode == "try":
            assumed.append(
                f"{step.wanted} is waited for in {step.function}, though the name of a primitive says trylock."
            )
        if step.mode == "read":
            assumed.append(
                f"{step.wanted} is taken for read in {step.function}: the log says so only by names of functions."
            )
        if step.mode == "wait":
            assumed.append(f"{step.function} waits for all who hold {step.wanted}, as a writer would.")
        if held_mode == "write":
            assumed.append(
                f"{step.held} is held exclusively in {step.function or f'step {at + 1}'}: nothing tells."
            )
        found.append(ScenarioStep(step.held, step.wanted, held_mode, mode, step.function or f"step_{at + 1}"))
    return found


def _of_path(report: LogReport, path: Sequence[str], assumed: list[str]) -> list[ScenarioStep]:
    """A path from the lock that a handler takes to the one that is held with interrupts on; the handler
    closes it.
    """
    names = [name for at, name in enumerate(path) if at == 0 or path[at - 1] != name]
    found = [
        ScenarioStep(held, wanted, "write", "write", _function_between(report, held, wanted, at))
        for at, (held, wanted) in enumerate(itertools.pairwise(names))
    ]
    assumed.append(f"The handler comes in while {names[-1]} is held, on the same CPU, with interrupts on.")
    assumed.append("All of these locks are taken exclusively: nothing tells.")
    return [
        *found,
        ScenarioStep(
            names[-1],
            names[0],
            "write",
            "write",
            _first(report.usages[0].stack if report.usages else report.stack),
            _context(report.states[0]),
        ),
    ]


def _function_between(report: LogReport, held: str, wanted: str, at: int) -> str:
    for block in report.blocks:
        if block.line.name == held and block.acquired:
            return _first(block.acquired)
    return _first(report.stack) if report.wanted and wanted == report.wanted.name else f"step_{at + 1}"


def _context(state: str) -> str:
    return "softirq" if "SOFTIRQ" in state.upper() else "hardirq"


def _first(stack: Stack) -> str:
    frame = own(stack)
    return frame.function if frame else "handler"


def _kinds(report: LogReport, found: Sequence[ScenarioStep], assumed: list[str]) -> dict[str, str]:
    """The primitive for each class, as far as names of functions tell."""
    stacks: dict[str, list[Stack]] = {}
    for one in steps(report):
        stacks.setdefault(one.wanted, []).append(one.stack)
    kinds: dict[str, str] = {}
    for step in found:
        for name in (step.held, step.wanted):
            words = " ".join(frame.function for stack in stacks.get(name, []) for frame in stack[:6])
            if any(
                (one.wanted_mode == "read" and one.wanted == name)
                or (one.held_mode == "read" and one.held == name)
                for one in found
            ):
                kinds[name] = "RwSemaphore"
            elif any(one.irq for one in found) or _SPIN.search(words):
                kinds[name] = "Spinlock"
            elif _RW.search(words):
                kinds[name] = "RwSemaphore"
            else:
                kinds[name] = "Mutex"
            if name.startswith("(") or name in ("fs_reclaim",) or "cpuhp_state" in name:
                note = f"{name} is an annotation and no lock: it stands here as one that is held while that runs."
                if note not in assumed:
                    assumed.append(note)
    return kinds
