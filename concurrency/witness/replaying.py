"""Replaying a schedule: the witness of a failure; and what to say of a program that does not replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sugarbush.concurrency.checks import Recorder
from sugarbush.concurrency.core import (
    Announcements,
    BadSchedule,
    ConcurrencyError,
    Log,
    Schedule,
    check_runs,
    first_difference,
    ran_too_deep,
)
from sugarbush.concurrency.runtimes import Settings, watchdog
from sugarbush.concurrency.strategies import Following, Replay
from sugarbush.concurrency.witness.result import Witness

_RUNS = 4
"""So many executions of one schedule are compared, each with the one before."""
_SLACK = 4
_LITTLE = 1000


def replay(
    program: Callable[[], Any],
    schedule: Schedule | str,
    *,
    settings: Settings | None = None,
    execution: int = 0,
) -> Witness:
    """Run `program` once under `schedule`, with everything recorded.

    A task that recurses too deep does so a few operations earlier or later than it did: the recorder needs room, too.
    The witness has the schedule of this run. Raises `BadSchedule` if the schedule does not fit the program, or if
    nothing fails under it; `ConcurrencyError` if a task waits outside the runtime (`Settings.patience`).
    """
    settings = known(program, settings)
    if isinstance(schedule, str):
        schedule = Schedule.parse(schedule)
    if not isinstance(schedule, Schedule):
        raise ConcurrencyError(f"a schedule is a Schedule or its text, not {schedule!r}")
    recorder = Recorder()
    with watchdog(settings.patience):
        try:
            done = settings.runtime(Replay(schedule), stacks=True, recorder=recorder).run(program)
        # The recorder needs room on the stack, so a recursion that was too deep is so some operations earlier or
        # later, and the schedule does not fit to its end.
        except BadSchedule:
            done = settings.runtime(Following(schedule), stacks=True, recorder=recorder).run(program)
            if not ran_too_deep(done.failure):
                raise
    if done.schedule != schedule and not ran_too_deep(done.failure):
        raise BadSchedule(
            f"the schedule does not fit the program: it has {schedule.switches} switches, the run made "
            f"{done.schedule.switches} and ended after {done.steps} operations"
        )
    if done.failure is None:
        raise BadSchedule(f"nothing fails under this schedule ({done.steps} operations)")
    return Witness(
        done.failure,
        done.schedule,
        execution,
        done.steps,
        tuple(recorder.tasks),
        tuple(recorder.events),
        done.preemptions,
    )


def known(program: object, settings: object, *witnesses: object, tries: object = 0) -> Settings:
    """The settings, or default ones where there are none; raises `ConcurrencyError` for what is none of these."""
    check_runs(program, "the program", "give the function itself, not what it gives")
    if not isinstance(settings, Settings | None):
        raise ConcurrencyError(f"settings must be a Settings object, not {settings!r}")
    for witness in witnesses:
        if not isinstance(witness, Witness):
            raise ConcurrencyError(f"a witness is one of Result.failures, not {witness!r}")
    if type(tries) is not int or tries < 0:
        raise ConcurrencyError(f"tries must be a whole number, 0 or more, not {tries!r}")
    return settings or Settings()


def confirmed(program: Callable[[], Any], found: Witness, settings: Settings) -> Witness:
    """`found`, replayed with everything recorded; raises `BadSchedule` if that does not show the same failure.

    The sentence names the first operation that differs, where two executions of that schedule can be told apart.
    """
    try:
        witness = replay(program, found.schedule, settings=settings, execution=found.execution)
    except BadSchedule as error:
        said = str(error)
    else:
        first, second = found.failure, witness.failure
        too_deep = ran_too_deep(first) and ran_too_deep(second)
        if first.signature == second.signature or too_deep:
            return replace(witness, strategy=found.strategy)
        said = (
            f"the same schedule gave {first.headline!r} at operation {first.step}, then {second.headline!r} at "
            f"operation {second.step}"
        )
    raise BadSchedule(
        f"the program is not deterministic: {tell_apart(program, found.schedule, found.steps, settings)}{said}"
    )


def tell_apart(program: Callable[[], Any], schedule: Schedule, steps: int, settings: Settings) -> str:
    """Run `program` a few times under one schedule, as far as that fits, and say where two executions differ.

    Without a difference it says that: what changed the program changed it for good.
    """
    heard = Announcements()
    limit = min(settings.max_steps, _SLACK * steps + _LITTLE)
    runtime = settings.runtime(Following(schedule), recorder=heard, max_steps=limit)
    before: Log | None = None
    for _ in range(_RUNS):
        try:
            runtime.run(program)
        except ConcurrencyError:
            return ""
        if before is not None and before != heard.log:
            return f"{first_difference(before, heard.log)}; "
        before = heard.log
    return "an earlier execution changed something that later ones find (a cache, say); "
