"""Reports in the words of Python: threads, locks by their owners, lines of source, both stacks."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sugarbush.lockdep.model import Frame, Stack
from sugarbush.lockdep.reports import (
    CircularReport,
    InconsistentReport,
    InversionReport,
    IrqOrderReport,
    RecursiveReport,
    Report,
    ReportKind,
)

Made = Callable[[str], str]
"""Says for the name of a class where its locks are made; "" where that is not known."""

RULE = "=" * 78
_DEEP = 12


@dataclass(frozen=True, slots=True)
class Story:
    """A report as sentences: one heading, the locks in it, what each thread did and where, what to do."""

    heading: str
    locks: tuple[tuple[str, str], ...] = ()
    parts: tuple[tuple[str, Stack], ...] = ()
    advice: tuple[str, ...] = ()
    text: str = field(default="")

    def lines(self) -> Iterator[str]:
        """The story as lines of text."""
        yield f"lockdep: {self.heading}"
        for name, made in self.locks:
            yield f"  {name} (made at {made})" if made else f"  {name}"
        yield ""
        for sentence, stack in self.parts:
            yield sentence
            yield from stack_lines(stack)
            yield ""
        if self.text:
            yield from self.text.splitlines()
        yield from self.advice


def tell(report: Report, made: Made = lambda _: "") -> str:
    """The report as text."""
    return "\n".join((RULE, *story(report, made).lines(), RULE)) + "\n"


def story(report: Report, made: Made = lambda _: "") -> Story:
    """The report as sentences."""
    told = getattr(report, "story", None)
    if told is not None:
        own: Story = told(made)
        return own
    for kind, teller in _TELLERS:
        if isinstance(report, kind):
            return teller(report, made)
    if report.kind is ReportKind.TASK_EXIT:
        return _at_exit(report, made)
    return Story(report.headline, text=report.render())


def fingerprint(report: Report) -> str:
    """What stays the same when lines move: the kind, the locks, and the functions in which they are taken."""
    one = story(report)
    functions = [stack[0].function for _, stack in one.parts if stack]
    text = "|".join((report.kind, *sorted(name for name, _ in one.locks), *sorted(functions)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def thread_of(by: str) -> str:
    """The name of a thread, from the name and number that the validator keeps."""
    name, _, rest = by.partition(" in ")
    name = name.rpartition("/")[0] or name
    where = {"hardirq": ", in a finaliser that the collector ran", "softirq": ", in a signal handler"}.get(
        rest, ""
    )
    return f"thread {name!r}{where}"


def stack_lines(stack: Iterable[Frame], indent: str = "    ") -> Iterator[str]:
    """A stack as tracebacks show it, the innermost line last."""
    for frame in reversed(list(stack)[:_DEEP]):
        yield f'{indent}File "{frame.file}", line {frame.line}, in {frame.function}'
        text = linecache.getline(frame.file, frame.line).strip()
        if text:
            yield f"{indent}  {text}"


def at(frame: Frame) -> str:
    """A line, as everybody writes it."""
    return f"{frame.file}:{frame.line}"


def _locks(names: Iterable[str], made: Made) -> tuple[tuple[str, str], ...]:
    return tuple((name, made(name)) for name in dict.fromkeys(names))


def _circular(report: CircularReport, made: Made) -> Story:
    guarded = report.kind is ReportKind.GUARDED
    names = [name for link in report.chain for name in (link.held, link.wanted.name)]
    one_class = len(set(names)) == 1
    *older, newest = report.chain
    parts = []
    for link in (*older, newest):
        verb = "now takes" if link is newest and older and newest.by == older[0].by else "took"
        if link is newest and verb == "took":
            verb = "takes"
        other = f"that of another object ({link.wanted.name})" if one_class else link.wanted.name
        parts.append(
            (f"{thread_of(link.by)} {verb} {link.held} at {at(link.held_at)}, then {other} here:", link.stack)
        )
    if guarded:
        heading = "locks are taken in two orders, but a common lock keeps that from a deadlock"
        advice: tuple[str, ...] = (f"Not a deadlock as long as all do so under {', '.join(report.guards)}.",)
    else:
        heading = "possible deadlock: locks are taken in two orders"
        advice = (
            "Threads that do so at the same time wait for each other for ever.",
            "Take the locks in one order everywhere, or let the first one go before the second is taken.",
        )
    return Story(heading, _locks(names, made), tuple(parts), advice)


def _recursive(report: RecursiveReport, made: Made) -> Story:
    return Story(
        "deadlock: a thread takes a lock that it has already",
        _locks((report.wanted.name,), made),
        (
            (
                f"thread {report.task.comm!r} took it at {at(report.owned.site)}, and takes it again here:",
                report.stack,
            ),
        ),
        ("It is no RLock: the thread waits for itself, unless another one gives the lock back.",),
    )


def _inconsistent(report: InconsistentReport, made: Made) -> Story:
    signal = "SOFTIRQ" in report.after or "SOFTIRQ" in report.before
    what = "a signal handler" if signal else "a finaliser"
    now = report.after.startswith("IN-")
    here, there = (str(report.task), report.stack), (report.registered_by, report.registered)
    (inside_by, inside), (outside_by, outside) = (here, there) if now else (there, here)
    if signal:
        advice = (
            "A signal that comes while the main thread has the lock runs the handler there: it waits for itself.",
            "Let the handler set a flag only (or write to a pipe, or use queue.SimpleQueue).",
        )
    else:
        advice = (
            "The collector may run it in any thread at any allocation, also in the one that has the lock.",
            "Let it only put the work aside (collections.deque.append, queue.SimpleQueue.put).",
        )
    return Story(
        f"possible deadlock: {what} takes a lock that the code it interrupts may hold",
        _locks((report.wanted.name,), made),
        (
            (f"{thread_of(inside_by.partition(' in ')[0])} took it in {what} here:", inside),
            (f"{thread_of(outside_by.partition(' in ')[0])} took it outside of one here:", outside),
        ),
        advice,
    )


def _inversion(report: InversionReport, made: Made) -> Story:
    what = "a signal handler" if report.state == "SOFTIRQ" else "a finaliser"
    inside, outside = report.changed.name, report.other.name
    if not report.forwards:
        inside, outside = outside, inside
    parts = [(f"thread {report.task.comm!r} closed the circle here:", report.stack)]
    parts += [
        (f"{thread_of(block.by)} took {block.line.name} under {block.held} here:", block.acquired)
        for block in report.path
        if block.acquired
    ]
    return Story(
        f"possible deadlock: {what} takes a lock under which another one is taken that it may interrupt",
        _locks((inside, outside), made),
        tuple(parts),
        (
            f"{inside} is taken in {what}; {outside} is taken under it, and held elsewhere when {what} may come.",
        ),
    )


def _irq_order(report: IrqOrderReport, made: Made) -> Story:
    what = "a signal handler" if report.safe_state.startswith("SOFTIRQ") else "a finaliser"
    safe, unsafe = report.safe.name, report.unsafe.name
    return Story(
        f"possible deadlock: {what} takes a lock under which another one is taken that it may interrupt",
        _locks((safe, unsafe, report.owned.name, report.wanted.name), made),
        (
            (
                f"{thread_of(report.safe_by.partition(' in ')[0])} took {safe} in {what} here:",
                report.safe_stack,
            ),
            (f"{thread_of(report.unsafe_by)} took {unsafe} outside of one here:", report.unsafe_stack),
            (
                f"thread {report.task.comm!r} took {report.wanted.name} under {report.owned.name} here:",
                report.stack,
            ),
        ),
        (
            f"{what} may come while a thread has {unsafe}, and wait for {safe}, whose owner waits for {unsafe}.",
        ),
    )


def _at_exit(report: Report, made: Made) -> Story:
    return Story(
        f"thread {report.task.comm!r} ended with locks that it still holds",
        _locks((line.name for line in report.held), made),
        tuple((f"it took {line.name} here:", (line.site,)) for line in report.held),
        ("Whoever waits for one of them waits for ever, unless another thread gives it back.",),
    )


_TELLERS: tuple[tuple[type[Report], Callable[[Any, Made], Story]], ...] = (
    (CircularReport, _circular),
    (RecursiveReport, _recursive),
    (InconsistentReport, _inconsistent),
    (InversionReport, _inversion),
    (IrqOrderReport, _irq_order),
)
