"""Forgetting: what no task can read any more, and what every task knows.

It changes nothing that a task could notice: the writes that go are below every task's floor, and a place with one
write left needs no view to say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sugarbush.concurrency.core import JOIN, Task
from sugarbush.concurrency.runtimes.weak.history import Home, Knowledge, Place, View, joined


class Known(Protocol):
    """What is looked through: who knows what (`concurrency.runtimes.weak.memory.WeakMemory`)."""

    known: list[Knowledge]
    everywhere: View
    others: dict[int, Home]
    handed_on: Callable[[], list[View]]


def prune(memory: Known, tasks: Sequence[Task]) -> int:
    """Forget what can be forgotten; gives how many writes of places in doubt are left."""
    for task in tasks:
        if task.ended:
            memory.known[task.id] = Knowledge()
    floors = [_floor(memory, task) for task in tasks if not task.ended]
    views = _views(memory)
    places = dict.fromkeys(place for view in views for place in view)
    settled: set[Place] = set()
    left = 0
    for place in places:
        lows = [floor.get(place) for floor in floors]
        oldest = min(-1 if low is None else low.at for low in lows)
        place.forget(sum(write.at < oldest for write in place.history))
        if len(place.history) == 1 or place.home() is None:
            settled.add(place)
        else:
            left += len(place.history)
            views += [write.view for write in place.history]
    for view in views:
        for place in [place for place in view if place in settled]:
            del view[place]
    return left


def _floor(memory: Known, task: Task) -> View:
    """What a task that goes on knows at least: if it waits for another to end, all that this one knows already."""
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
