"""Memory pressure: an allocation that may reclaim does so in place, by choice. Kernel: mm/page_alloc.c, v6.6.

A model of memory says how it is reclaimed (`Pressure.reclaim`), and how many allocations of an execution may do so
(`chances`). The task that allocates then runs that function with whatever locks it holds, and so shows locks that are
taken both around an allocation and inside of reclaim. Reclaim does not enter itself (PF_MEMALLOC).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sugarbush.concurrency.core import (
    Dep,
    Operation,
    Runtime,
    Task,
    active,
    check_ran,
    current_task,
    domain,
    perform,
)

RECLAIM_ENTER = Operation("fs_reclaim_acquire", dep=Dep.RECLAIM_ENTER, local=True)
MAY_RECLAIM = Operation("should_reclaim", field="spent", local=True)
RECLAIM_EXIT = Operation("fs_reclaim_release", dep=Dep.RECLAIM_EXIT, local=True)


class Pressure:
    """The pressure of one execution; without `reclaim` there is none."""

    def __init__(self) -> None:
        self.reclaim: Callable[[], object] | None = None
        self.chances = 0
        """How many allocations may reclaim, by choice, in the whole execution."""
        self.spent = 0
        """How many have done so."""
        self.inside: dict[Task, None] = {}
        """The tasks that reclaim now. A task asks for its own entry only, so no operation is needed for that."""


@contextmanager
def fs_reclaim() -> Iterator[None]:
    """The block reclaims memory: to the lock validator it holds the pseudo-lock ``fs_reclaim``."""
    pressure, task = domain(Pressure), current_task()
    perform(RECLAIM_ENTER, task)
    pressure.inside[task] = None
    yield
    del pressure.inside[task]
    perform(RECLAIM_EXIT, task)


def may_reclaim(rt: Runtime) -> None:
    """Reclaim in place, if the schedule says so, before an allocation with __GFP_DIRECT_RECLAIM goes on."""
    pressure = rt.domain(Pressure)
    if not pressure.chances or rt.current in pressure.inside:
        return
    # How many have reclaimed is one number for all tasks, so to look at it is an operation. The choice below
    # belongs to that operation.
    rt.step(MAY_RECLAIM, pressure)
    if pressure.spent < pressure.chances and rt.choose(2, "an allocation reclaims"):
        pressure.spent += 1
        direct_reclaim()


def direct_reclaim() -> None:
    """Reclaim in place, unless the task does so already or there is no `reclaim`; as try_to_free_pages()."""
    rt = active.runtime
    pressure = domain(Pressure)
    if pressure.reclaim is not None and (rt is None or rt.current not in pressure.inside):
        with fs_reclaim():
            if (result := pressure.reclaim()) is not None:
                check_ran(result, "the function that reclaims", pressure.reclaim)
