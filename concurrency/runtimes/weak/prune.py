"""Forgetting: what no task can read any more, and what every task knows.

It changes nothing that a task could notice: the writes that go are below every task's floor, and a location with one
write left needs no view to say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sugarbush.concurrency.core import JOIN, Task
from sugarbush.concurrency.runtimes.weak.history import Home, Knowledge, Location, View, joined


class Known(Protocol):
    """What is looked through: what each task knows (`concurrency.runtimes.weak.memory.WeakMemory`)."""

    known: list[Knowledge]
    everywhere: View
    others: dict[int, Home]
    handed_on: Callable[[], list[View]]


def prune(memory: Known, tasks: Sequence[Task]) -> int:
    """Forget what can be forgotten; gives how many writes of locations in doubt are left."""
    for task in tasks:
        if task.ended:
            # What it had done was handed on when it ended (`WeakSimulated._end`).
            memory.known[task.id] = Knowledge()
    floors = [_floor(memory, task) for task in tasks if not task.ended]
    views = _views(memory)
    locations = dict.fromkeys(location for view in views for location in view)
    settled: set[Location] = set()
    left = 0
    for location in locations:
        lows = [floor.get(location) for floor in floors]
        # A task that knows nothing of it may read the oldest.
        oldest = min(-1 if low is None else low.at for low in lows)
        location.forget(sum(write.at < oldest for write in location.history))
        if len(location.history) == 1 or location.home() is None:
            settled.add(location)
        else:
            left += len(location.history)
            views += [write.view for write in location.history]
    for view in views:
        for location in [location for location in view if location in settled]:
            del view[location]
    return left


def _floor(memory: Known, task: Task) -> View:
    """What a task knows at least; of one that waits for the end of another, with all that this one knows already."""
    floor = memory.known[task.id].floor
    while task.op is JOIN and isinstance(task.obj, Task) and not task.obj.ended:
        task = task.obj
        floor = joined(floor, memory.known[task.id].floor)
    return floor


def _views(memory: Known) -> list[View]:
    views = [memory.everywhere]
    for me in memory.known:
        views += [me.floor, me.seen, me.aside, me.own, me.released, me.strong]
        views += [view for view in (me.stamp, me.snapshot) if view is not None]
        views += [view for _, view in me.through.values()]
        views += me.given or ()
    views += memory.handed_on()
    for home in memory.others.values():
        for sync in home.syncs.values():
            views += [sync.view, sync.own, sync.strong]
    return views
