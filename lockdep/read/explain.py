"""What a report means: how each step took its lock, a schedule that runs, what would make it a false alarm,
plain words.

A log says little of how a lock was taken: only the table (``rlock``, ``sync``) and the names of functions.
What follows from a name is said as "probably"; what nothing tells is unknown, and nothing is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sugarbush.lockdep.model import ReportKind, Stack
from sugarbush.lockdep.read.identities import parted
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.titles import is_own, is_start_up, own

_READ: Final = re.compile(r"down_read|read_lock|read_trylock|percpu_down_read|srcu_read|_read_acquire")
_SYNC: Final = re.compile(
    r"synchronize_s?rcu|^__flush|flush_work|wait_for_completion|drain_workqueue|cancel_work"
)
_TRY: Final = re.compile(r"trylock|try_lock|down_trylock")
_WRITE: Final = re.compile(
    r"mutex_lock|spin_lock|down_write|write_lock|_mutex_lock|percpu_down_write|rt_mutex|^down$"
)
_ANNOTATIONS: Final = (
    (
        "fs_reclaim",
        "memory reclaim: is this allocation made with GFP_KERNEL, and can reclaim come to that lock at all?",
    ),
    (
        "cpuhp_state",
        "CPU hotplug states: do the two steps belong to one state, and to one CPU going the same way?",
    ),
    ("(wq_completion)", "a workqueue: does the work that takes the lock run on this very queue?"),
    ("(work_completion)", "a work item: is the work that is flushed the one that takes the lock?"),
    ("(completion)", "a completion: is the one that completes it the one that needs the lock?"),
    ("mmu_notifier", "MMU notifiers: can this notifier be called there?"),
    ("dma_fence", "fences: is the fence that is waited for signalled by the one that needs the lock?"),
    ("srcu", "an SRCU domain: do the readers that are waited for take the lock?"),
)
_WHAT_KERNELS_CALL_ONE: Final = re.compile(r"_key\b|i_mutex|i_rwsem|->lock$|_lock_key|child")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a cycle: `wanted` was taken in `function` while `held` was held.

    `mode` is "read", "write", "try", "wait" or "" (nothing tells); `closing` marks the step that was new.
    """

    held: str
    wanted: str
    function: str
    stack: Stack
    mode: str
    held_mode: str
    closing: bool


@dataclass(frozen=True, slots=True)
class Question:
    """Something that would make the report a false alarm, and what to look at to know."""

    what: str
    look_at: str


def mode_of(stack: Stack) -> str:
    """How a stack took its lock, by the primitives above the first own function; "" if nothing tells."""
    # Upwards from the innermost frame: primitives call each other, and the first one that tells a mode is the one
    # that waits.
    for frame in stack:
        if _TRY.search(frame.function):
            return "try"
        if _READ.search(frame.function):
            return "read"
        if _SYNC.search(frame.function):
            return "wait"
        if _WRITE.search(frame.function):
            return "write"
        if is_own(frame.function):
            return ""
    return ""


def steps(report: LogReport) -> tuple[Step, ...]:
    """The steps of a whole cycle, from #0 on; the last one closed it."""
    found = []
    verbs = {(row.cpu, row.name): row.verb for row in report.table}
    edges = report.edges
    for at, (held, wanted, stack) in enumerate(edges):
        function = own(stack)
        closing = at == len(edges) - 1
        mode = mode_of(stack)
        if closing:
            # Of the new step the table tells, too; an older kernel prints lock() for reads as well.
            mode = {"rlock": "read", "sync": "wait"}.get(verbs.get((0, wanted), ""), mode)
        found.append(
            Step(
                held,
                wanted,
                function.function if function else (stack[0].function if stack else ""),
                stack,
                mode,
                # How the first lock of a step was taken is known only where a step wanted it, and of the held
                # list.
                "read" if closing and verbs.get((0, held)) == "rlock" else "",
                closing,
            )
        )
    return tuple(found)


def schedule(report: LogReport) -> Iterator[str]:
    """A table with one CPU for each step: the kernel's has two, which is no schedule for more than two locks."""
    every = steps(report)
    if not every:
        return
    width = max(20, *(len(step.held) + 9 for step in every))
    yield "  " + "".join(f"{f'CPU{at}':<{width}}" for at in range(len(every))).rstrip()
    for at, step in enumerate(every):
        verb = "rlock" if step.held_mode == "read" else "lock"
        yield "  " + " " * (width * at) + f"{verb}({step.held})"
    for at, step in enumerate(every):
        verb = {"read": "rlock", "wait": "wait", "try": "trylock"}.get(step.mode, "lock")
        yield "  " + " " * (width * at) + f"{verb}({step.wanted})"
    yield "  *** each waits for the next one ***"


def questions(report: LogReport) -> tuple[Question, ...]:
    """The questions to be answered before a report is believed."""
    every = steps(report)
    names = list(dict.fromkeys(report.cycle))
    found = [*(_about_steps(report, every, names) if every else ()), *_about_names(report, names)]
    early = [step for step in every if is_start_up(step.stack)]
    if early:
        found.append(
            Question(
                f"{early[0].held} -> {early[0].wanted} was seen only while the kernel or a module "
                "started: can it come again,"
                " with the others running?",
                early[0].function,
            )
        )
    if report.kind is ReportKind.RECURSIVE:
        found.append(
            Question(
                "Are the two locks two instances, always taken in one order? Then a nesting level or "
                "an ordering function"
                " says so.",
                "the objects of both acquires",
            )
        )
    return tuple(found)


def _about_steps(report: LogReport, every: Sequence[Step], names: list[str]) -> list[Question]:
    """A gate lock, and steps that do not wait."""
    outer = [
        line.name for line in report.held if line.name not in (step.held for step in every if step.closing)
    ]
    outer = [name for name in dict.fromkeys(outer) if name not in names]
    where = ", ".join(dict.fromkeys(step.function for step in every if step.function and not step.closing))
    also = f"The new step also held {', '.join(outer)}: do the other steps? " if outer else ""
    found = [
        Question(
            "Is there one lock that all steps hold outside, exclusively (a gate lock)? Then they cannot meet.",
            f"{also}The report does not tell the outer locks of old steps: look at the callers "
            f"of {where or 'each step'},"
            " or give /proc/lockdep_chains of the same boot with --chains.",
        )
    ]
    found += [
        Question(
            f"Is {step.wanted} only tried for in {step.function}? A trylock waits for nobody.",
            step.function,
        )
        for step in every
        if step.mode == "try"
    ]
    return found


def _about_names(report: LogReport, names: list[str]) -> list[Question]:
    """Nesting levels, classes of many instances, annotations."""
    found: list[Question] = []
    for name in names:
        base, _, subclass = parted(name)
        if subclass:
            found.append(
                Question(
                    f"{name} is an annotated nesting (subclass {subclass[1:]}): is it always the inner one of the two?",
                    f"whoever takes {base} with a nesting level",
                )
            )
        elif _WHAT_KERNELS_CALL_ONE.search(base) and report.kind in (
            ReportKind.CIRCULAR,
            ReportKind.RECURSIVE,
        ):
            found.append(
                Question(
                    f"{name} stands for all locks that one line initialises: is it one instance in all steps?",
                    f"where {base} is initialised, and which objects the steps work on",
                )
            )
        found += [
            Question(f"{name} is no lock but an annotation.", why)
            for mark, why in _ANNOTATIONS
            if mark in name
        ]
    return found


def words(report: LogReport) -> str:
    """One paragraph for who does not read such reports every day."""
    task = "A task" if report.task.pid < 0 else f"Task {report.task}"
    name = report.cycle[0] if report.cycle else "a lock"
    if report.kind is ReportKind.CIRCULAR:
        every = steps(report)
        if not every:
            return (
                f"{task} wanted "
                f"{name}{f' while it held {report.owned.name}' if report.owned else ''}, and that "
                "order contradicts"
                " one that was seen before. The log ends, or has lost lines, before it says which: no cycle is told."
            )
        chain = "; ".join(
            (
                f"{'now ' if step.closing else ''}{step.wanted} was taken in "
                f"{step.function or 'an unknown place'} with {step.held} held"
            )
            + (
                f" ({'probably ' if step.mode in ('read', 'try') else ''}{_MODES[step.mode]})"
                if step.mode in _MODES
                else ""
            )
            for step in every
        )
        return (
            f"{len(every)} orders contradict each other: {chain}. If {len(every)} tasks do that at "
            "the same time, each holds what"
            " the one before it wants, and none goes on. Nobody has hung yet: the report says that it can happen."
        )
    if report.kind is ReportKind.RECURSIVE and len(report.cycle) == 2:
        return (
            f"{task} wanted {name} while it held a lock of the same class. If that is the same lock, it "
            "waits for itself."
        )
    if report.kind is ReportKind.IRQ_ORDER and report.complete:
        assert report.owned is not None
        assert report.wanted is not None
        return (
            f"{report.safe} is taken in {report.states[0]} context, and {report.unsafe} is taken "
            "with those interrupts on. Now"
            f" {report.wanted.name} was wanted while {report.owned.name} was held, which joins them: "
            f"a task that holds {report.unsafe}"
            f" can be interrupted by a handler that waits for {report.safe}, whose holder waits for {report.unsafe}."
        )
    if report.kind is ReportKind.INVERSION and report.complete:
        return (
            f"{report.cycle[0]} and {report.cycle[1]} are nested, one of them is taken in "
            f"{report.states[0]} context and the other with"
            " those interrupts on: a handler that comes in between waits for a lock whose holder "
            "waits for what it interrupted."
        )
    if report.kind is ReportKind.INCONSISTENT and report.complete:
        return (
            f"{name} is taken both {{{report.states[0]}}} and {{{report.states[1]}}}: the handler "
            "can come while the lock is held on the"
            " same CPU, and wait for it for ever."
        )
    return _SHORT.get(report.kind, "")


_MODES: Final = {"read": "for read", "try": "tried", "wait": "waited for"}
_SHORT: Final = {
    ReportKind.WAIT_CONTEXT: "A lock that may sleep (on PREEMPT_RT, or always) was wanted where nothing may.",
    ReportKind.RCU: "RCU was used outside of its rules: a pointer without a reader, or a sleep inside one.",
    ReportKind.BAD_UNLOCK: (
        "A lock was released that this task does not hold: released twice, or on a path that never took it."
    ),
    ReportKind.HELD_FREED: "Memory was freed with a lock in it that the same task still holds.",
    ReportKind.RETURN_TO_USER: "A system call ended with a lock held.",
    ReportKind.TASK_EXIT: "A task ended with a lock held.",
    ReportKind.NEST_LOCK: "A nesting was announced under a lock that is not held.",
    ReportKind.KEY: "A lock was used that was never initialised, or whose key lives on a stack or heap.",
    ReportKind.TABLE: "The validator had no more room and switched itself off: nothing was checked after this.",
    ReportKind.SLEEP_IN_ATOMIC: "Something that may sleep was called where sleeping is forbidden.",
    ReportKind.SCHEDULE_IN_ATOMIC: "A task gave up its CPU where it must not.",
    ReportKind.HUNG: "A task has waited for minutes; the list of all held locks, if there is one, says for whom.",
    ReportKind.STALL: "A CPU or task kept RCU waiting.",
    ReportKind.DATA_RACE: "Two accesses met, at least one a write, and nothing orders them.",
}
