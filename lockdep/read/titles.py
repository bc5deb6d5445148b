"""The title that a report has in syzbot's lists, and the functions that no title names.

A title names the first function that is the user's: not the validator, no lock, wait queue or workqueue
primitive, no allocator and no reporting. The list is the work: see `docs/lock-reports.md` for how often it
agrees.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from sugarbush.lockdep.model import Frame, ReportKind, Stack
from sugarbush.lockdep.read.model import LogReport

# By names, since a stack in a log has nothing else: neither files nor modules. Found anywhere in a name unless it is
# anchored, because kernels put prefixes and suffixes to the same primitive.
_ALWAYS: Final = re.compile(
    # Reporting.
    r"dump_stack|show_stack|print_|_bug$|_print|printk|console_(?:unlock|flush|trylock|emit)"
    r"|should_fail|fail_dump|warn_alloc|^__?die|^oops_|"
    r"warn_slowpath|__warn|dump_backtrace|unwind_backtrace|show_regs|show_trace"
    r"|report_bug|panic|fixup_bug|do_trap|do_error_trap|do_invalid_op|invalid_op|asm_exc_|exc_invalid|handle_bug|^exc_"
    r"|stack_trace|arch_stack_walk|save_trace|save_stack"
    # The validator.
    r"|lockdep|lock_acquire|lock_release|lock_class|mark_lock|mark_irqflags|mark_usage|mark_held|held_locks|check_"
    r"|validate_chain|add_lock|noncircular|might_sleep|might_resched|might_fault|__cant_migrate|rcu_lock|lock_map"
    r"|lock_set_|_hardirqs|_softirqs|hardirqs_|softirqs_|bfs|usage_bug|lock_is_held|lock_commit|find_usage"
    # Locks.
    r"|spin_lock|spin_trylock|spin_unlock|raw_spin_rq|(?:read|write)_(?:lock|trylock|unlock)|^down"
    r"|^up_(?:read|write)|__down"
    r"|^_*mutex_|^_*rt_mutex|rwsem|osq_|owner_on_cpu|^percpu_(?:down|up)|bh_(?:en|dis)able|queued_spin|seqprop|seqlock"
    r"|seqcount|lock_timer_base|^rtlock|^__rt_|lock_acquired|lock_contended|^class_\w+_(?:con|de)structor|local_lock"
    # Waiting and work.
    r"|flush_work|__flush|start_flush|drain_workqueue|destroy_workqueue|cancel_(?:delayed_)?work"
    r"|__cancel_work|queue_work"
    r"|queue_delayed_work|insert_work|wait_for_completion|^complete$|__wait_for|wait_for_common|__wake_up|finish_wait"
    r"|prepare_to_wait|^process_one_work$|^process_scheduled_works$|^worker_thread$|^kthread$"
    r"|^ret_from_fork|(?:del|mod|add)_timer|timer_(?:delete|shutdown)|sk_stop_timer|try_to_grab"
    r"|kthread_stop"
    # Memory and small helpers.
    r"|kv?free|k?v?[mzc]alloc|krealloc|kmem_cache|kmalloc|slab_|allocate_slab|alloc_page"
    r"|__alloc_(?:pages|frozen)|folio_alloc|kfree_skb|debug_object"
    r"|debug_check|timer_is_static|work_is_static|atomic\d*_(?:dec|inc|read|set|add|sub|fetch|xchg|cmpxchg|or|and|try)"
    r"|(?:set|clear|change|test)_bit|^refcount_|^kref_|mem(?:cpy|cmp|set|move|dup|chr)|str(?:n?cmp"
    r"|n?cpy|l?cpy|len|n?dup|scpy)"
    r"|copy_(?:to|from)_(?:user|iter)|(?:get|put)_user|list_(?:add|del|move|replace)|kobject_"
    r"|device_(?:add|del|unregister)"
    r"|^__init_|^iput|^ihold|put_device|perf_trace|kasan|kmsan|kcsan|instrument_|^arch_local|trace_(?:hard|soft)irqs"
    r"|register_lock|assign_lock|^lock_sock|^osq|lock_page|rcu_read|__schedule_bug|^sched(?:ule)?$|^__schedule"
    r"|preempt_schedule|schedule_debug|^context_switch|irq_exit|irqentry_|^entry_|^do_syscall_|^asm_"
    r"|^ret_from_|^ret_fast|exit_to_user_mode_loop|^klist_"
)
_STARTS: Final = re.compile(
    r"start_kernel|do_initcalls?|do_one_initcall|kernel_init|rest_init|do_basic_setup"
)

_FORMS: Final = {
    ReportKind.CIRCULAR: "possible deadlock in {}",
    ReportKind.RECURSIVE: "possible deadlock in {}",
    ReportKind.IRQ_ORDER: "possible deadlock in {}",
    ReportKind.INVERSION: "possible deadlock in {}",
    ReportKind.INCONSISTENT: "inconsistent lock state in {}",
    ReportKind.WAIT_CONTEXT: "WARNING: locking bug in {}",
    ReportKind.RCU: "WARNING: suspicious RCU usage in {}",
    ReportKind.BAD_UNLOCK: "WARNING: bad unlock balance in {}",
    ReportKind.BAD_CONTENTION: "WARNING: bad contention in {}",
    ReportKind.HELD_FREED: "WARNING: held lock freed in {}",
    ReportKind.RETURN_TO_USER: "WARNING: lock held when returning to user space in {}",
    ReportKind.TASK_EXIT: "WARNING: still has locks held in {}",
    ReportKind.NEST_LOCK: "WARNING: nested lock was not taken in {}",
    ReportKind.KEY: "INFO: trying to register non-static key in {}",
    ReportKind.SLEEP_IN_ATOMIC: "BUG: sleeping function called from invalid context in {}",
    ReportKind.SCHEDULE_IN_ATOMIC: "BUG: scheduling while atomic in {}",
    ReportKind.HUNG: "INFO: task hung in {}",
    ReportKind.STALL: "INFO: rcu detected stall in {}",
    ReportKind.WORKER_LEAK: "BUG: workqueue leaked lock or atomic in {}",
    ReportKind.SUBCLASS: "BUG: looking up invalid subclass in {}",
}
_OLD: Final = ("BUG",)
_WAITS: Final = re.compile(
    r"sched|_lock|_slowlock|^down|rwsem|completion|kthread|^io_schedule|wait|context_switch|^ret_from|rcu_barrier"
)


@lru_cache(maxsize=8192)
def is_own(function: str) -> bool:
    """Whether a function is the user's: no primitive, and not known to none."""
    return function != "unknown" and _ALWAYS.search(function) is None


def own(stack: Stack) -> Frame | None:
    """The first frame of a stack that is the user's, or None."""
    return next((frame for frame in stack if is_own(frame.function)), None)


def is_start_up(stack: Stack) -> bool:
    """Whether a stack was seen while the kernel, or a module, was starting: what runs alone then closes no
    cycle.
    """
    return any(_STARTS.match(frame.function) for frame in stack)


def title(report: LogReport) -> str:
    """The title, or "" where there is no function to name."""
    if report.kind is ReportKind.DATA_RACE:
        what = "assert: race" if "assert: race" in report.headline else "data-race"
        return f"KCSAN: {what} in {report.message}"
    if report.kind is ReportKind.TABLE:
        return report.headline
    form = _FORMS.get(report.kind)
    function = _function(report)
    if form is None:
        return ""
    if form.startswith("WARNING") and report.headline.startswith("["):
        # Up to 4.11 it stood in brackets, and the titles have the word that stood there.
        word = report.headline.lstrip("[ ").partition(":")[0]
        form = word + form.removeprefix("WARNING") if word in _OLD and "locking bug" not in form else form
    return form.format(function) if function else ""


def _function(report: LogReport) -> str:
    closing = own(report.stack)
    stacks = [stack for _, stack in report.stacks]
    sites: list[Frame | None] = []
    if report.kind in (ReportKind.CIRCULAR, ReportKind.RECURSIVE, ReportKind.INVERSION):
        lines = (report.wanted,) if report.kind is not ReportKind.CIRCULAR else (report.wanted, report.owned)
        sites += [line.site for line in lines if line is not None and is_own(line.site.function)]
        # As printed, from the highest link on: where a workqueue's own functions are at both sites, that is
        # who flushed it.
        sites += [*map(own, stacks), closing]
    elif report.kind is ReportKind.IRQ_ORDER:
        sites += [own(usage.stack) for usage in report.usages] + [closing]
    elif report.kind in (ReportKind.RETURN_TO_USER, ReportKind.TASK_EXIT):
        sites += [line.site for line in report.held if is_own(line.site.function)] + [closing]
    elif report.kind is ReportKind.HUNG:
        waiting = [frame for frame in report.stack if not _WAITS.search(frame.function)]
        sites += [own(tuple(waiting)), closing]
    elif report.kind is ReportKind.WORKER_LEAK and report.message:
        return report.message
    elif report.kind in (ReportKind.BAD_UNLOCK, ReportKind.BAD_CONTENTION):
        sites += [closing, report.site]
    elif report.kind is ReportKind.HELD_FREED:
        sites += [report.wanted.site] if report.wanted else []
        sites += [closing]
    elif report.kind is ReportKind.INCONSISTENT:
        sites += [closing, report.wanted.site if report.wanted else None]
    else:
        sites += [closing, report.wanted.site if report.wanted else None]
    # A primitive is better than nothing.
    sites += [line.site for line in (report.wanted, report.owned) if line is not None]
    return next(
        (_plain(frame.function) for frame in sites if frame is not None and frame.function != "unknown"), ""
    )


def _plain(function: str) -> str:
    """The name in a mangled one of C++ that has no namespace."""
    found = re.match(r"_Z(\d+)", function)
    return function[found.end() : found.end() + int(found[1])] if found and len(found[1]) < 4 else function
