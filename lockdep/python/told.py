"""Reports in the words of Python: threads, locks by their owners, lines of source, both stacks."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable, Iterator

from lockdep.reports import (
    CircularReport,
    InconsistentReport,
    InversionReport,
    IrqOrderReport,
    RecursiveReport,
    Report,
    ReportKind,
)
from lockdep.reports.base import Stack
from lockdep.trace import Frame

Made = Callable[[str], str]
"""Says for the name of a class where its locks are made; "" where that is not known."""

_DEEP = 12


def thread_of(by: str) -> str:
    """The name of a thread, from the name and number that the validator keeps."""
    name, _, rest = by.partition(" in ")
    name = name.rpartition("/")[0] or name
    where = {"hardirq": ", in a finaliser that the collector ran", "softirq": ", in a signal handler"}.get(rest, "")
    return f"thread {name!r}{where}"


def stack_lines(stack: Iterable[Frame], indent: str = "    ") -> Iterator[str]:
    """A stack as tracebacks show it, the innermost line last."""
    frames = list(stack)[:_DEEP]
    for frame in reversed(frames):
        yield f'{indent}File "{frame.file}", line {frame.line}, in {frame.function}'
        text = linecache.getline(frame.file, frame.line).strip()
        if text:
            yield f"{indent}  {text}"


def _lock(name: str, made: Made) -> str:
    where = made(name)
    return f"{name} (made at {where})" if where else name


def _at(frame: Frame) -> str:
    return f"{frame.file}:{frame.line}"


def tell(report: Report, made: Made = lambda _: "") -> str:
    """The report as text."""
    if isinstance(report, CircularReport):
        lines = _circular(report, made)
    elif isinstance(report, RecursiveReport):
        lines = _recursive(report, made)
    elif isinstance(report, InconsistentReport):
        lines = _inconsistent(report, made)
    elif isinstance(report, InversionReport):
        lines = _inversion(report, made)
    elif isinstance(report, IrqOrderReport):
        lines = _irq_order(report, made)
    elif report.kind is ReportKind.TASK_EXIT:
        lines = _at_exit(report)
    elif hasattr(report, "told"):
        lines = report.told(made)
    else:
        lines = iter(report.render().splitlines())
    return "\n".join((RULE, *lines, RULE)) + "\n"


RULE = "=" * 78


def _circular(report: CircularReport, made: Made) -> Iterator[str]:
    guarded = report.kind is ReportKind.GUARDED
    if guarded:
        yield "lockdep: locks are taken in two orders, but a common lock keeps that from a deadlock"
    else:
        yield "lockdep: possible deadlock: locks are taken in two orders"
    names = list(dict.fromkeys(name for link in report.chain for name in (link.held, link.wanted.name)))
    for name in names:
        yield f"  {_lock(name, made)}"
    yield ""
    *older, newest = report.chain
    for link in older:
        yield f"{thread_of(link.by)} took {link.held} at {_at(link.held_at)}, then {link.wanted.name} here:"
        yield from stack_lines(link.stack)
        yield ""
    first = older[0] if older else newest
    verb = "takes" if newest.by != first.by else "now takes"
    yield (
        f"{thread_of(newest.by)} {verb} {newest.held} at {_at(newest.held_at)}, then {newest.wanted.name} here:"
    )
    yield from stack_lines(newest.stack)
    yield ""
    if guarded:
        yield f"Not a deadlock as long as everybody does so under {', '.join(report.guards)}."
    else:
        yield (
            "Two threads that do so at the same time wait for each other for ever"
            + (" (here the threads did not meet)." if True else ".")
        )
        yield "Take the locks in one order everywhere, or let the first one go before the second is taken."


def _recursive(report: RecursiveReport, made: Made) -> Iterator[str]:
    yield "lockdep: deadlock: a thread takes a lock that it has already"
    yield f"  {_lock(report.wanted.name, made)}"
    yield ""
    yield f"thread {report.task.comm!r} took it at {_at(report.owned.site)}, and takes it again here:"
    yield from stack_lines(report.stack)
    yield ""
    yield "It is no RLock: the thread waits for itself. (If other threads give such locks back, ignore this.)"


def _inconsistent(report: InconsistentReport, made: Made) -> Iterator[str]:
    signal = "SOFTIRQ" in report.after or "SOFTIRQ" in report.before
    what = "a signal handler" if signal else "a finaliser"
    yield f"lockdep: possible deadlock: {what} takes a lock that the code it interrupts may hold"
    yield f"  {_lock(report.wanted.name, made)}"
    yield ""
    inside_now = report.after.startswith("IN-")
    inside = report.stack if inside_now else report.registered
    outside = report.registered if inside_now else report.stack
    inside_by = str(report.task) if inside_now else report.registered_by
    outside_by = report.registered_by if inside_now else str(report.task)
    yield f"{thread_of(inside_by.partition(' in ')[0])} took it in {what} here:"
    yield from stack_lines(inside)
    yield ""
    yield f"{thread_of(outside_by.partition(' in ')[0])} took it outside of one here:"
    yield from stack_lines(outside)
    yield ""
    if signal:
        yield "A signal that comes while the main thread has the lock runs the handler there, and it waits for itself."
        yield "Let the handler set a flag only (or write to a pipe, or use queue.SimpleQueue)."
    else:
        yield "The collector may run the finaliser in any thread at any allocation, also in the one that has the lock."
        yield "Let the finaliser only put the work aside (collections.deque.append, queue.SimpleQueue.put)."


def _chain(blocks: Iterable[object]) -> Iterator[str]:
    for block in blocks:
        stack: Stack = getattr(block, "acquired", ())
        if stack:
            yield f"{thread_of(getattr(block, 'by', ''))} took {getattr(block, 'line').name} under it here:"
            yield from stack_lines(stack)
            yield ""


def _inversion(report: InversionReport, made: Made) -> Iterator[str]:
    what = "a signal handler" if report.state == "SOFTIRQ" else "a finaliser"
    inside, outside = report.changed.name, report.other.name
    if not report.forwards:
        inside, outside = outside, inside
    yield f"lockdep: possible deadlock: {what} takes a lock under which another one is taken that it may interrupt"
    yield f"  {_lock(inside, made)}: taken in {what}"
    yield f"  {_lock(outside, made)}: taken under it, and held where {what} may come"
    yield ""
    yield f"thread {report.task.comm!r} closed the circle here:"
    yield from stack_lines(report.stack)
    yield ""
    yield from _chain(report.path)


def _irq_order(report: IrqOrderReport, made: Made) -> Iterator[str]:
    what = "a signal handler" if report.safe_state.startswith("SOFTIRQ") else "a finaliser"
    yield f"lockdep: possible deadlock: {what} takes a lock under which another one is taken that it may interrupt"
    yield f"  {_lock(report.safe.name, made)}: taken in {what}"
    yield f"  {_lock(report.unsafe.name, made)}: held where {what} may come"
    yield ""
    yield f"{thread_of(report.safe_by.partition(' in ')[0])} took {report.safe.name} in {what} here:"
    yield from stack_lines(report.safe_stack)
    yield ""
    yield f"{thread_of(report.unsafe_by)} took {report.unsafe.name} outside of one here:"
    yield from stack_lines(report.unsafe_stack)
    yield ""
    yield f"thread {report.task.comm!r} took {report.wanted.name} under {report.owned.name} here:"
    yield from stack_lines(report.stack)


def _at_exit(report: Report) -> Iterator[str]:
    yield f"lockdep: thread {report.task.comm!r} ended with locks that it still holds"
    for line in report.held:
        yield f"  {line.name}, taken at {_at(line.site)}"
    yield "Whoever waits for one of them waits for ever, unless another thread gives it back."
