"""Reports of a task that does what its context forbids, or loses track of what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sugarbush.lockdep.model import Frame, LockLine, Report, short_path


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitContextReport(Report):
    """A lock that waits longer than the context allows (kernel: `print_lock_invalid_wait_context`)."""

    wanted: LockLine
    context_outer: int
    context_inner: int

    def body(self) -> Iterator[str]:
        yield f"{self.task} is trying to lock:"
        yield str(self.wanted)
        yield "other info that might help us debug this:"
        yield f"context-{{{self.context_outer}:{self.context_inner}}}"
        yield from self.held_section()
        yield from self.backtrace()


@dataclass(frozen=True, slots=True, kw_only=True)
class RcuReport(Report):
    """RCU used against its rules (kernel: `lockdep_rcu_suspicious`)."""

    message: str
    site: Frame
    watching: bool

    def body(self) -> Iterator[str]:
        yield f"{short_path(self.site.file)}:{self.site.line} {self.message}!"
        yield ""
        yield "other info that might help us debug this:"
        yield ""
        yield "" if self.watching else "RCU used illegally from extended quiescent state!"
        yield "rcu_scheduler_active = 2, debug_locks = 1"
        yield from self.held_section()
        yield from self.backtrace()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadUnlockReport(Report):
    """A lock is released, or contended, that is not held (kernel: `print_unlock_imbalance_bug`)."""

    name: str
    site: Frame
    contention: bool = False

    def body(self) -> Iterator[str]:
        action = "contend" if self.contention else "release"
        yield f"{self.task} is trying to {action} lock ({self.name}) at:"
        yield str(self.site)
        if self.contention:
            yield "but there are no locks held!"
        else:
            yield "but there are no more locks to release!"
        yield ""
        yield "other info that might help us debug this:"
        yield from self.held_section()
        yield from self.backtrace()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFreedReport(Report):
    """Memory goes while the task holds a lock in it (kernel: `print_freed_lock_bug`)."""

    freed: LockLine
    first: int
    last: int

    def body(self) -> Iterator[str]:
        memory = f"{self.first:016x}-{self.last:016x}"
        yield f"{self.task} is freeing memory {memory}, with a lock still held there!"
        yield str(self.freed)
        yield from self.held_section()
        yield from self.backtrace()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnToUserReport(Report):
    """Locks are held on the way to user mode (kernel: `lockdep_sys_exit`)."""

    def body(self) -> Iterator[str]:
        yield f"{self.task} is leaving the kernel with locks still held!"
        yield from self.held_section()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExitReport(Report):
    """A task ends with locks held (kernel: `print_held_locks_bug`)."""

    def body(self) -> Iterator[str]:
        yield from self.held_section()
        yield from self.backtrace()


@dataclass(frozen=True, slots=True, kw_only=True)
class NestLockReport(Report):
    """The nest lock that an acquire names is not held (kernel: `print_lock_nested_lock_not_held`)."""

    wanted: LockLine
    nest_lock: str

    def body(self) -> Iterator[str]:
        yield f"{self.task} is trying to lock:"
        yield str(self.wanted)
        yield ""
        yield "but this task is not holding:"
        yield self.nest_lock
        yield from self.backtrace()
        yield ""
        yield "other info that might help us debug this:"
        yield from self.held_section()
        yield from self.backtrace()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarnReport(Report):
    """A plain warning: a failed assert, a pin that does not fit, a bad key (kernel: `WARN_ON`)."""

    advice: tuple[str, ...] = ()

    framed: ClassVar[bool] = False

    def body(self) -> Iterator[str]:
        yield from self.advice
        yield from self.held_section()
        yield from self.backtrace()


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepReport(Report):
    """A function that may sleep, called where sleeping is forbidden (kernel: `__might_resched`)."""

    in_atomic: bool
    irqs_disabled: bool
    preempt_count: int
    rcu_depth: int
    expected_rcu_depth: int

    framed: ClassVar[bool] = False

    def body(self) -> Iterator[str]:
        yield (
            f"in_atomic(): {int(self.in_atomic)}, irqs_disabled(): {int(self.irqs_disabled)}, non_block: 0,"
            f" pid: {self.task.pid}, name: {self.task.comm}"
        )
        yield f"preempt_count: {self.preempt_count:x}, expected: 0"
        yield f"RCU nest depth: {self.rcu_depth}, expected: {self.expected_rcu_depth}"
        yield from self.held_section()
        yield from self.backtrace()
