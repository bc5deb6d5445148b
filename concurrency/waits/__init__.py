"""What tasks wait for that is no lock, one file each: completions, conditions, queues, barriers, flags, timers."""

from sugarbush.concurrency.waits.barrier import Barrier
from sugarbush.concurrency.waits.completion import TRY_WAIT_FOR_COMPLETION, Completion
from sugarbush.concurrency.waits.condition import Condition
from sugarbush.concurrency.waits.flag import Flag
from sugarbush.concurrency.waits.timer import (
    DEL_TIMER,
    Timer,
    del_timer,
    del_timer_sync,
    mod_timer,
    timer_pending,
)
from sugarbush.concurrency.waits.wait import (
    TASK_RUNNING,
    TASK_UNINTERRUPTIBLE,
    WAKE_UP_PROCESS,
    WaitQueue,
    for_no_reason,
    schedule,
    schedule_timeout,
    set_current_state,
    wake_up_process,
)

__all__ = [
    "DEL_TIMER",
    "TASK_RUNNING",
    "TASK_UNINTERRUPTIBLE",
    "TRY_WAIT_FOR_COMPLETION",
    "WAKE_UP_PROCESS",
    "Barrier",
    "Completion",
    "Condition",
    "Flag",
    "Timer",
    "WaitQueue",
    "del_timer",
    "del_timer_sync",
    "for_no_reason",
    "mod_timer",
    "schedule",
    "schedule_timeout",
    "set_current_state",
    "timer_pending",
    "wake_up_process",
]
