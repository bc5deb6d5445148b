"""Waits for what is no lock: threads, events, conditions, queues, futures.

Nobody owns an event. What can be said is this: a thread waits, without a time limit, while it holds lock L;
and all who ever woke such a waiter took L in the same stretch of work, before they did. Then a waker that
comes too late waits for L, and the waiter for the waker. A stretch that happened before the wait in any case
(by start, join, another event) is no such waker, and one who wakes without L makes all well.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sugarbush.lockdep.model import RawFrame, Stack, Trace, resolve
from sugarbush.lockdep.python.context import PythonMap, ThreadContext, Unit
from sugarbush.lockdep.python.wording import Made, Story
from sugarbush.lockdep.reports import Report, ReportKind, common

_KEPT = 8
"""Wakers, and waits under locks, that one channel remembers: the latest of different threads."""


class Captures(Protocol):
    """The part of the validator that waits use: it takes stacks."""

    def capture(self) -> Trace:
        """The stack of the caller."""


class WatchedProgram(Protocol):
    """What is asked of the program that is watched, `lockdep.python.program.Program`."""

    waited: dict[tuple[int, str], Under]

    @property
    def lockdep(self) -> Captures:
        """Its validator."""

    def report(
        self,
        ctx: ThreadContext,
        kind: ReportKind,
        cause: str,
        heading: str,
        locks: tuple[str, ...],
        parts: tuple[tuple[str, Stack], ...],
        advice: tuple[str, ...],
    ) -> None:
        """Something was found that is not the validator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReport(Report):
    """A wait, and why it may never end: `heading` says it in one line, `parts` are sentences with their stacks."""

    heading: str
    locks: tuple[str, ...]
    parts: tuple[tuple[str, Stack], ...]
    advice: tuple[str, ...]

    def story(self, made: Made) -> Story:
        """The report in Python's words."""
        return Story(self.heading, tuple((name, made(name)) for name in self.locks), self.parts, self.advice)

    def body(self) -> Iterator[str]:
        yield from self.story(lambda _: "").lines()


class Under(NamedTuple):
    """A wait under a lock: the lock and its name, the stretch of work, and where it waited and had taken the lock."""

    lock: weakref.ref[PythonMap]
    name: str
    unit: Unit
    trace: Trace
    held: RawFrame


class Woke(NamedTuple):
    """A wake-up: the stretch of work in which it was made, the numbers of the locks held then, and where."""

    unit: Unit
    holds: frozenset[int]
    trace: Trace | None


class Channel:
    """One thing that threads wait for and are woken through."""

    __slots__ = ("told", "under", "what", "woke")

    def __init__(self, what: str) -> None:
        self.what = what
        self.under: list[Under] = []
        self.woke: dict[int, Woke] = {}
        self.told: dict[int, int] = {}

    def wake(self, program: WatchedProgram, ctx: ThreadContext, own: object = None) -> None:
        """The running thread wakes a waiter, or would; `own` is the lock that the waiter gives back meanwhile."""
        holds = frozenset(entry[0].number for entry in ctx.held if entry[0] is not own)
        unit = ctx.unit
        self.woke.pop(ctx.pid, None)
        self.woke[ctx.pid] = Woke(unit, holds, program.lockdep.capture() if self.under or holds else None)
        if len(self.woke) > _KEPT:
            del self.woke[next(iter(self.woke))]
        for under in self.under:
            lock_map = under.lock()
            if lock_map is not None:
                self._judge(program, ctx, under, lock_map)
        told = self.told
        for number, at in (*unit.heard.items(), (ctx.pid, unit.number)):
            if told.get(number, -1) < at:
                told[number] = at
        ctx.next_unit(waited=False)

    def wait(self, program: WatchedProgram, ctx: ThreadContext, own: object = None) -> None:
        """The running thread is about to wait without a limit; `own` is the lock that the wait gives back."""
        for entry in ctx.held:
            lock_map = entry[0]
            if lock_map is own or not isinstance(lock_map, PythonMap):
                continue
            trace = program.lockdep.capture()
            under = Under(weakref.ref(lock_map), entry[1].lock_class.title, ctx.unit, trace, entry[2:4])
            self.under = [one for one in self.under if one.lock() is not lock_map][-_KEPT:]
            self.under.append(under)
            self._judge(program, ctx, under, lock_map)

    def woken(self, ctx: ThreadContext) -> None:
        """The wait is over."""
        ctx.next_unit(self.told)

    def _judge(self, program: WatchedProgram, ctx: ThreadContext, under: Under, lock_map: PythonMap) -> None:
        # All who ever woke must need the lock. One that does not is enough to end the wait, so then nothing is said:
        # a report here is a guess about what the program will do, and a false one is worse than none.
        others = [woke for woke in self.woke.values() if woke.unit.ctx is not under.unit.ctx]
        if not others:
            return
        found: tuple[Woke, RawFrame] | None = None
        for woke in others:
            taken = lock_map.takers.get(woke.unit.ctx.pid)
            needs = lock_map.number in woke.holds or (taken is not None and taken[0].leads_to(woke.unit))
            if not needs or taken is None:
                return
            # It has taken the lock before the wait began, or after it ended, in every schedule: then it was not kept
            # out.
            if taken[0].before(under.unit) or under.unit.before(taken[0]):
                continue
            found = found or (woke, taken[1])
        if found is None:
            return
        woke, site = found
        waker, waiter = woke.unit.ctx, under.unit.ctx
        wakes = woke.trace.resolve() if woke.trace is not None else ()
        program.report(
            ctx,
            ReportKind.WAIT_UNDER_LOCK,
            f"{under.name}|{self.what}|{resolve(under.trace.site)}",
            f"possible deadlock: a thread waits {self.what} while it holds a lock that whoever wakes it takes first",
            (under.name,),
            (
                (
                    f"thread {waiter.comm!r} took {under.name} at {_at(under.held)}, and waits {self.what} here:",
                    under.trace.resolve(),
                ),
                (f"thread {waker.comm!r} takes {under.name} here, before it can wake:", (resolve(site),)),
                *((("and wakes here:", wakes),) if wakes else ()),
            ),
            ("If the waiter gets the lock first, the waker never comes so far. Wait without the lock.",),
        )


def judge_join(program: WatchedProgram, ctx: ThreadContext, name: str, joined: ThreadContext) -> None:
    """The running thread waits for another to end, and holds locks."""
    for entry in ctx.held:
        lock_map = entry[0]
        if not isinstance(lock_map, PythonMap):
            continue
        taken = lock_map.takers.get(joined.pid)
        if taken is None or taken[0].before(ctx.unit):
            continue
        title = entry[1].lock_class.title
        trace = program.lockdep.capture()
        program.report(
            ctx,
            ReportKind.WAIT_UNDER_LOCK,
            f"{title}|join|{resolve(trace.site)}",
            "possible deadlock: a thread waits for another one to end while it holds a lock that the other takes",
            (title,),
            (
                (
                    f"thread {ctx.comm!r} took {title} at {_at(entry[2:4])}, and joins thread {name!r} here:",
                    trace.resolve(),
                ),
                (f"thread {name!r} takes {title} here:", (resolve(taken[1]),)),
            ),
            (
                "If the other thread has not come so far yet, each waits for the other. Join without the lock.",
            ),
        )


def judge_work(program: WatchedProgram, ctx: ThreadContext, label: str, unit: Unit | None) -> None:
    """The running thread waits for the result of work, and holds locks that such work takes."""
    for entry in ctx.held:
        lock_map = entry[0]
        if not isinstance(lock_map, PythonMap):
            continue
        title = entry[1].lock_class.title
        trace = program.lockdep.capture()
        if label:
            program.waited[lock_map.number, label] = Under(
                weakref.ref(lock_map), title, ctx.unit, trace, entry[2:4]
            )
        for worker, site in lock_map.takers.values():
            if worker.ctx is ctx or not (worker is unit or (label and worker.label == label)):
                continue
            report_work(
                program,
                ctx,
                program.waited.get((lock_map.number, label)),
                label,
                worker,
                site,
                trace,
                title,
                entry[2:4],
            )
            break


def report_work(
    program: WatchedProgram,
    ctx: ThreadContext,
    under: Under | None,
    label: str,
    worker: Unit,
    site: RawFrame,
    trace: Trace,
    title: str,
    held: RawFrame,
) -> None:
    """Work takes a lock under which its result is waited for."""
    waiter = under.unit.ctx if under is not None else ctx
    waits = under.trace if under is not None else trace
    program.report(
        ctx,
        ReportKind.WAIT_UNDER_LOCK,
        f"{title}|future|{label}",
        "possible deadlock: a thread waits for a result while it holds a lock that the work takes",
        (title,),
        (
            (
                f"thread {waiter.comm!r} took {title} at {_at(under.held if under else held)}, and waits for the result"
                f" of {label or 'the work'} here:",
                waits.resolve(),
            ),
            (
                f"thread {worker.ctx.comm!r}, at work on {label or 'it'}, takes {title} here:",
                (resolve(site),),
            ),
        ),
        ("Wait for the result without the lock.",),
    )


def _at(site: RawFrame) -> str:
    frame = resolve(site)
    return f"{frame.file}:{frame.line}"


def make(
    program: WatchedProgram,
    ctx: ThreadContext,
    kind: ReportKind,
    cause: str,
    heading: str,
    locks: tuple[str, ...],
    parts: Sequence[tuple[str, Stack]],
    advice: tuple[str, ...],
) -> WaitReport:
    """A report of this module's kind."""
    return WaitReport(
        **common(ctx, kind, f"WARNING: {heading}", cause, program.lockdep.capture()),
        heading=heading,
        locks=locks,
        parts=tuple(parts),
        advice=advice,
    )
