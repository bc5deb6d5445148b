"""A place where one task sleeps until another one has done something. Kernel: include/linux/rcuwait.h, v6.15.

Only one is in use here, `mm.vma_writer_wait`: the writer of mmap_lock waits there for the readers of a VMA. Writers of
one mmap_lock exclude each other, so there is one sleeper at most. Each look below touches the address space, as the
kernel's do, whose struct rcuwait lies in struct mm_struct: if that is gone, it is a use after free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import rcu_read_lock, rcu_read_unlock
from sugarbush.concurrency.core import Fence, might_sleep
from sugarbush.concurrency.lowlevel import Operation, perform
from sugarbush.concurrency.waits import for_no_reason
from sugarbush.vm.objects import MmStruct

if TYPE_CHECKING:
    from sugarbush.concurrency import Task


def _fall_asleep(mm: MmStruct, task: Task, _arg: object) -> None:
    if task not in mm.vma_writer_wait:
        mm.vma_writer_wait.append(task)


def _be_awake(mm: MmStruct, _task: Task, _arg: object) -> bool:
    slept = bool(mm.vma_writer_wait)
    # All there are, which is one at most: the list is only so that a task can be looked for in it.
    mm.vma_writer_wait.clear()
    return slept


def _is_awake(mm: MmStruct, task: Task) -> bool:
    return task not in mm.vma_writer_wait


def _nothing(_mm: Any, _task: Any, _arg: object) -> None:
    """Waiting changes nothing: whoever wakes the sleeper takes it off."""


_FIELD: Any = {"field": "vma_writer_wait", "local": True}
# set_current_state() is a full barrier, and rcuwait_wake_up() begins with one: so either the sleeper sees what the
# other one has done, or the other one sees the sleeper (comments (A) and (B) of kernel/exit.c, v6.15).
RCUWAIT_SLEEPS = Operation("set_current_state", effect=_fall_asleep, wakes=True, after=Fence.MB, **_FIELD)
RCUWAIT_SCHEDULE = Operation("schedule", ready=_is_awake, effect=_nothing, wakes=False, **_FIELD)
RCUWAIT_FINISH = Operation("finish_rcuwait", effect=_be_awake, wakes=True, **_FIELD)
RCUWAIT_WAKE_UP = Operation("rcuwait_wake_up", effect=_be_awake, wakes=True, before=Fence.MB, **_FIELD)


def rcuwait_wait_event(mm: MmStruct, condition: Callable[[], bool]) -> None:
    """Sleep in `mm.vma_writer_wait` until `condition()` holds; it is looked at now and after each wake-up."""
    while True:
        perform(RCUWAIT_SLEEPS, mm)
        if condition():
            break
        might_sleep(state=False)
        # What ends a sleep for no reason leaves the task on the place, as in the kernel: it looks, and sleeps again.
        if not for_no_reason():
            perform(RCUWAIT_SCHEDULE, mm)
    perform(RCUWAIT_FINISH, mm)


def rcuwait_wake_up(mm: MmStruct) -> bool:
    """Wake the task that sleeps in `mm.vma_writer_wait`; True if one did. `mm` must not go away meanwhile.

    The reader of RCU is for the task that is woken, not for `mm`.
    """
    rcu_read_lock()
    woken = bool(perform(RCUWAIT_WAKE_UP, mm))
    rcu_read_unlock()
    return woken
