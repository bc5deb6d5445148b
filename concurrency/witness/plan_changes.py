"""The changes that minimising makes to a plan: each gives a few plans that may be smaller.

Source: Jalbert and Sen, "A Trace Simplification Technique for Effective Debugging of Concurrent Programs", FSE 2010:
stretches of one task are moved together, later ones earlier and earlier ones later, and removed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sugarbush.concurrency.strategies import Plan, Stretch


def without(plan: Plan, start: int, stop: int) -> Iterator[Plan]:
    """Leave the window out; the stretch before it is preempted there, or runs on."""
    yield (*plan[:start], *plan[stop:])
    yield (*plan[: start - 1], Stretch(plan[start - 1].task, None), *plan[stop:])


def gathered(plan: Plan, start: int, stop: int) -> Iterator[Plan]:
    """Let each task of the window run once, in the order of first, then of last appearance."""
    window = plan[start:stop]
    tasks = list(dict.fromkeys(stretch.task for stretch in window))
    if len(tasks) == len(window):
        return
    last = list(dict.fromkeys(stretch.task for stretch in reversed(window)))[::-1]
    for order in [tasks, last] if tasks != last else [tasks]:
        yield (*plan[:start], *(_sum(window, task) for task in order), *plan[stop:])


def unpreempted(plan: Plan, at: int) -> Iterator[Plan]:
    """Let one stretch run until it cannot go on."""
    stretch = plan[at]
    if stretch.length is not None:
        yield (*plan[:at], Stretch(stretch.task, None), *plan[at + 1 :])
        yield (*plan[:at], Stretch(stretch.task, None))


def moved(plan: Plan, at: int) -> Iterator[Plan]:
    """Let one stretch come sooner or later."""
    rest = (*plan[:at], *plan[at + 1 :])
    for place in range(1, len(plan)):
        if at and place != at:
            yield (*rest[:place], plan[at], *rest[place:])


def swapped(plan: Plan, at: int) -> Iterator[Plan]:
    """Let two tasks change their parts from here on."""
    one = plan[at].task
    for other in sorted({stretch.task for stretch in plan[at:]} - {one}):
        names = {one: other, other: one}
        yield tuple(
            Stretch(names.get(stretch.task, stretch.task), stretch.length) if place >= at else stretch
            for place, stretch in enumerate(plan)
        )


def joined(plan: Plan, at: int) -> Iterator[Plan]:
    """Move the next stretch of the same task to this one, or this one to that."""
    task = plan[at].task
    for later in range(at + 1, len(plan)):
        if plan[later].task == task:
            both = _sum((plan[at], plan[later]), task)
            yield (*plan[:at], both, *plan[at + 1 : later], *plan[later + 1 :])
            if at:
                yield (*plan[:at], *plan[at + 1 : later], both, *plan[later + 1 :])
            return


def elsewhere(plan: Plan, at: int) -> Iterator[Plan]:
    """Give a stretch to another task."""
    if at == 0:
        return
    stretch = plan[at]
    for task in range(max(one.task for one in plan) + 1):
        if task != stretch.task:
            yield (*plan[:at], Stretch(task, stretch.length), *plan[at + 1 :])


def shorter(plan: Plan, at: int) -> Iterator[Plan]:
    """Preempt a stretch earlier; the next stretch of its task is longer by that, or not."""
    task, length = plan[at].task, plan[at].length
    if length is None:
        return
    later = next((n for n in range(at + 1, len(plan)) if plan[n].task == task), None)
    less = length - 1
    while less >= 1:
        shorter = Stretch(task, length - less)
        yield (*plan[:at], shorter, *plan[at + 1 :])
        if later is not None and plan[later].length is not None:
            more = Stretch(task, (plan[later].length or 0) + less)
            yield (*plan[:at], shorter, *plan[at + 1 : later], more, *plan[later + 1 :])
        less //= 2


def _sum(stretches: Plan, task: int) -> Stretch:
    """One stretch of `task` as long as all of its stretches."""
    total = 0
    for stretch in stretches:
        if stretch.task == task:
            if stretch.length is None:
                return Stretch(task, None)
            total += stretch.length
    return Stretch(task, total)
