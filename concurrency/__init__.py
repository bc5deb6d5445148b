"""How things run and meet: runtimes, schedules, strategies, locks, RCU, shared memory, slab."""

from concurrency.atomic import (
    atomic_add,
    atomic_add_return,
    atomic_add_unless,
    atomic_dec,
    atomic_dec_and_test,
    atomic_fetch_add,
    atomic_inc,
    cmpxchg,
    xchg,
)
from concurrency.barrier import Barrier
from concurrency.clock import HZ, jiffies, ktime_get, mdelay, msleep
from concurrency.completion import Completion
from concurrency.condition import Condition
from concurrency.context import might_sleep
from concurrency.execution import Execution
from concurrency.explain import explain
from concurrency.explore import RUNTIMES, explore
from concurrency.failure import (
    BadSchedule,
    ConcurrencyError,
    Failure,
    Kind,
    TaskKilled,
    WouldBlock,
)
from concurrency.fence import (
    smp_mb,
    smp_mb__after_atomic,
    smp_mb__after_spinlock,
    smp_mb__after_srcu_read_unlock,
    smp_mb__after_unlock_lock,
    smp_mb__before_atomic,
    smp_rmb,
    smp_wmb,
)
from concurrency.flag import Flag
from concurrency.irq import (
    hardirq,
    irqs_disabled,
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    local_irq_restore,
    local_irq_save,
    softirq,
)
from concurrency.lock import Lock, OwnedLock, lock_class_key, owned_operations
from concurrency.minimise import minimise
from concurrency.mutex import Mutex
from concurrency.observer import Observer
from concurrency.operation import Access, Dep, Fence, Operation
from concurrency.race import RaceDetector
from concurrency.rcu import (
    call_rcu,
    rcu_barrier,
    rcu_read_lock,
    rcu_read_lock_held,
    rcu_read_unlock,
    rcu_reader,
    synchronize_rcu,
)
from concurrency.recorder import Event, Recorder
from concurrency.replay import replay
from concurrency.result import Result, Verdict, Witness
from concurrency.runtime import (
    Runtime,
    active,
    bug_on,
    check,
    checked,
    current_task,
    domain,
    fail,
    join,
    perform,
    quiet,
    spawn,
    trace,
)
from concurrency.rwlock import RwLock
from concurrency.rwsem import RwSemaphore
from concurrency.schedule import Datum, Schedule, Segment
from concurrency.semaphore import Semaphore
from concurrency.seqlock import SeqCount, SeqLock
from concurrency.settings import MEMORIES, Settings
from concurrency.shared import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    Once,
    Order,
    Plain,
    RcuPtr,
    Shared,
    peek,
    poke,
    rcu_access_pointer,
    rcu_assign_pointer,
    rcu_dereference,
    rcu_dereference_check,
    rcu_dereference_protected,
    smp_load_acquire,
    smp_store_release,
)
from concurrency.simulated import Simulated
from concurrency.slab import KmemCache, LeakCheck
from concurrency.spinlock import Spinlock
from concurrency.strategy import DPOR, PCT, POS, SURW, DepthFirst, RandomWalk, Replay, Search, Strategy
from concurrency.strategy.table import DEFAULT_DEPTH, DEFAULT_STRATEGY, STRATEGIES
from concurrency.task import Task
from concurrency.threaded import Threaded
from concurrency.timer import Timer, del_timer, del_timer_sync, mod_timer, timer_pending
from concurrency.validator import LockValidator
from concurrency.wait import (
    TASK_RUNNING,
    TASK_UNINTERRUPTIBLE,
    WaitQueue,
    schedule,
    schedule_timeout,
    set_current_state,
    wake_up_process,
)

__all__ = [
    "DEFAULT_DEPTH",
    "DEFAULT_STRATEGY",
    "DPOR",
    "HZ",
    "MEMORIES",
    "PCT",
    "POS",
    "READ_ONCE",
    "RUNTIMES",
    "STRATEGIES",
    "SURW",
    "TASK_RUNNING",
    "TASK_UNINTERRUPTIBLE",
    "WRITE_ONCE",
    "Access",
    "Atomic",
    "BadSchedule",
    "Barrier",
    "Completion",
    "ConcurrencyError",
    "Condition",
    "Datum",
    "Dep",
    "DepthFirst",
    "Event",
    "Execution",
    "Failure",
    "Fence",
    "Flag",
    "Kind",
    "KmemCache",
    "LeakCheck",
    "Lock",
    "LockValidator",
    "Mutex",
    "Observer",
    "Once",
    "Operation",
    "Order",
    "OwnedLock",
    "Plain",
    "RaceDetector",
    "RandomWalk",
    "RcuPtr",
    "Recorder",
    "Replay",
    "Result",
    "Runtime",
    "RwLock",
    "RwSemaphore",
    "Schedule",
    "Search",
    "Segment",
    "Semaphore",
    "SeqCount",
    "SeqLock",
    "Settings",
    "Shared",
    "Simulated",
    "Spinlock",
    "Strategy",
    "Task",
    "TaskKilled",
    "Threaded",
    "Timer",
    "Verdict",
    "WaitQueue",
    "Witness",
    "WouldBlock",
    "active",
    "atomic_add",
    "atomic_add_return",
    "atomic_add_unless",
    "atomic_dec",
    "atomic_dec_and_test",
    "atomic_fetch_add",
    "atomic_inc",
    "bug_on",
    "call_rcu",
    "check",
    "checked",
    "cmpxchg",
    "current_task",
    "del_timer",
    "del_timer_sync",
    "domain",
    "explain",
    "explore",
    "fail",
    "hardirq",
    "irqs_disabled",
    "jiffies",
    "join",
    "ktime_get",
    "local_bh_disable",
    "local_bh_enable",
    "local_irq_disable",
    "local_irq_enable",
    "local_irq_restore",
    "local_irq_save",
    "lock_class_key",
    "mdelay",
    "might_sleep",
    "minimise",
    "mod_timer",
    "msleep",
    "owned_operations",
    "peek",
    "perform",
    "poke",
    "quiet",
    "rcu_access_pointer",
    "rcu_assign_pointer",
    "rcu_barrier",
    "rcu_dereference",
    "rcu_dereference_check",
    "rcu_dereference_protected",
    "rcu_read_lock",
    "rcu_read_lock_held",
    "rcu_read_unlock",
    "rcu_reader",
    "replay",
    "schedule",
    "schedule_timeout",
    "set_current_state",
    "smp_load_acquire",
    "smp_mb",
    "smp_mb__after_atomic",
    "smp_mb__after_spinlock",
    "smp_mb__after_srcu_read_unlock",
    "smp_mb__after_unlock_lock",
    "smp_mb__before_atomic",
    "smp_rmb",
    "smp_store_release",
    "smp_wmb",
    "softirq",
    "spawn",
    "synchronize_rcu",
    "timer_pending",
    "trace",
    "wake_up_process",
    "xchg",
]
