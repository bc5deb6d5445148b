"""Interrupts and bottom halves of the calling task: off, on, and handlers that come in.

Models local_irq_save() of include/linux/irqflags.h and local_bh_disable() of include/linux/bottom_half.h, v6.6.
Each task is a CPU of its own: what it switches is its own state. A handler does not come by itself; a program says
where one comes in, with `hardirq` and `softirq`. The lock validator needs no more: it finds a lock that is taken in
a handler and elsewhere with interrupts on, whether or not a handler ever came in between (docs/lockdep.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from sugarbush.concurrency.core import (
    ConcurrencyError,
    Dep,
    Failure,
    Kind,
    Operation,
    Task,
    caller,
    current_task,
    fail,
    perform,
    position,
)


def _irqs_off(task: Task, _task: Task, _arg: object) -> bool:
    were_on = not task.irqs_off
    task.irqs_off = True
    return were_on


def _irqs_on(task: Task, _task: Task, caller: str) -> None:
    if not task.irqs_off:
        _unbalanced(f"{caller}() called with IRQs enabled", task)
    task.irqs_off = False


# All that keeps a task from sleeping is added to `preempt_count`, as in the kernel (include/linux/preempt.h), so that
# `might_sleep` and RCU ask one number. Interrupts are apart there, too: they are a flag of the CPU.


def _bh_off(task: Task, _task: Task, _arg: object) -> None:
    task.bh_off += 1
    task.preempt_count += 1


def _bh_on(task: Task, _task: Task, _arg: object) -> None:
    if not task.bh_off:
        _unbalanced("local_bh_enable() without local_bh_disable()", task)
    if task.irqs_off:
        _unbalanced("local_bh_enable() called with IRQs disabled", task)
    task.bh_off -= 1
    task.preempt_count -= 1


def _enter_hardirq(task: Task, _task: Task, _arg: object) -> None:
    task.preempt_count += 1
    task.irqs_off = True


def _exit_hardirq(task: Task, _task: Task, _arg: object) -> None:
    task.preempt_count -= 1
    task.irqs_off = False


def _enter_softirq(task: Task, _task: Task, _arg: object) -> None:
    task.preempt_count += 1
    task.in_softirq = True


def _exit_softirq(task: Task, _task: Task, _arg: object) -> None:
    task.preempt_count -= 1
    task.in_softirq = False
    # A softirq comes in with interrupts on (`softirq` refuses the rest), so whatever its function left is undone.
    task.irqs_off = False


def _unbalanced(what: str, task: Task) -> NoReturn:
    fail(
        Failure(
            Kind.LOCKDEP,
            f"WARNING: {what}",
            "\n".join(
                [
                    f"irqs_disabled(): {int(task.irqs_off)}, bottom halves disabled: {task.bh_off}, "
                    f"pid: {task.id}, name: {task.name}",
                    f"at {caller()}",
                    *position(task),
                ]
            ),
        )
    )


def _operation(name: str, dep: Dep, effect: Callable[[Task, Task, Any], Any], **section: Any) -> Operation:
    # local: done to the calling task, which no other task changes. region: grace periods of RCU wait for it.
    return Operation(name, effect=effect, dep=dep, local=True, region=True, **section)


LOCAL_IRQ_DISABLE = _operation("local_irq_disable", Dep.IRQS_OFF, _irqs_off, begins="local_irq_disable()")
LOCAL_IRQ_ENABLE = _operation("local_irq_enable", Dep.IRQS_ON, _irqs_on, ends="local_irq_disable()")
LOCAL_BH_DISABLE = _operation("local_bh_disable", Dep.BH_OFF, _bh_off, begins="local_bh_disable()")
LOCAL_BH_ENABLE = _operation("local_bh_enable", Dep.BH_ON, _bh_on, ends="local_bh_disable()")
HARDIRQ_ENTER = _operation("hardirq_enter", Dep.HARDIRQ_ENTER, _enter_hardirq, begins="a hardirq handler")
HARDIRQ_EXIT = _operation("hardirq_exit", Dep.HARDIRQ_EXIT, _exit_hardirq, ends="a hardirq handler")
SOFTIRQ_ENTER = _operation("softirq_enter", Dep.SOFTIRQ_ENTER, _enter_softirq, begins="a softirq handler")
SOFTIRQ_EXIT = _operation("softirq_exit", Dep.SOFTIRQ_EXIT, _exit_softirq, ends="a softirq handler")


def local_irq_disable() -> None:
    """Interrupts go off; does not nest."""
    perform(LOCAL_IRQ_DISABLE, current_task())


def local_irq_enable() -> None:
    """Interrupts go on; a report if they are on, which the kernel only counts (`redundant_hardirqs_on`)."""
    perform(LOCAL_IRQ_ENABLE, current_task(), "local_irq_enable")


def local_irq_save() -> bool:
    """Interrupts go off; gives the flags for `local_irq_restore`: whether they were on."""
    return bool(perform(LOCAL_IRQ_DISABLE, current_task()))


def local_irq_restore(flags: bool) -> None:
    """Interrupts go back to what they were; a report if they are on (`warn_bogus_irq_restore`)."""
    task = current_task()
    # With flags that say "off" and interrupts off there is nothing to do; the other three cases switch, or are a
    # report.
    if flags or not task.irqs_off:
        perform(LOCAL_IRQ_ENABLE, task, "raw_local_irq_restore")


def local_bh_disable() -> None:
    """Bottom halves go off; nests."""
    perform(LOCAL_BH_DISABLE, current_task())


def local_bh_enable() -> None:
    """Undoes one local_bh_disable(); a report if there is none, or with interrupts off."""
    perform(LOCAL_BH_ENABLE, current_task())


def irqs_disabled() -> bool:
    """Whether the calling task has interrupts off."""
    return current_task().irqs_off


@contextmanager
def hardirq() -> Iterator[None]:
    """The block is a hardware interrupt's handler that comes in here, on top of the calling task.

    Raises `ConcurrencyError` with interrupts off, when none can come.
    """
    task = current_task()
    if task.irqs_off:
        raise ConcurrencyError(f"no interrupt can come in: {task.name} has interrupts off")
    perform(HARDIRQ_ENTER, task)
    try:
        yield
    finally:
        perform(HARDIRQ_EXIT, task)


@contextmanager
def softirq() -> Iterator[None]:
    """The block is a softirq's handler that comes in here, on top of the calling task.

    Raises `ConcurrencyError` with interrupts or bottom halves off, when none can come.
    """
    task = current_task()
    if task.irqs_off or task.bh_off or task.in_softirq:
        raise ConcurrencyError(f"no softirq can run: {task.name} has interrupts or bottom halves off")
    perform(SOFTIRQ_ENTER, task)
    try:
        yield
    finally:
        perform(SOFTIRQ_EXIT, task)
