"""What the validator keeps for each task: the held stack, and the context that the task is in."""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING, NamedTuple

from sugarbush.lockdep.model.chains import HARDIRQS_ON, NO_CHAIN, SOFTIRQS_ON, Chain
from sugarbush.lockdep.model.contexts import IN_HARDIRQ, IN_NMI, IN_SOFTIRQ, Maker
from sugarbush.lockdep.model.keys import LockMap
from sugarbush.lockdep.model.trace import RawFrame

if TYPE_CHECKING:
    from sugarbush.lockdep.model.report import Report


class Extra:
    """The rare parts of a held lock: its nest lock, the other locks of the class that it stands for, its
    pins.
    """

    __slots__ = ("merged", "nest_lock", "pins")

    def __init__(self, nest_lock: LockMap | None = None) -> None:
        self.nest_lock = nest_lock
        self.merged: list[LockMap] = []
        self.pins: tuple[int, ...] = ()


# A tuple, since one is made for each acquire. What is rare is in `Extra`, which most locks do not have, and the line of
# source is looked up only when it is printed.
Held = tuple[LockMap, Chain, CodeType, int, Extra | None]
"""A held lock: map, the chain that ends in it, code object and offset of the acquire, rare parts."""


class IrqEvent(NamedTuple):
    """The last time that something was switched: its number in the task's sequence (0: never), and where."""

    stamp: int = 0
    site: RawFrame | None = None


_NEVER = IrqEvent()


class TaskContext:
    """One task, as the validator sees it; the runtime owns it and hands it out as the current one.

    `comm` and `pid` name the task in reports. A fresh context is a process with interrupts on that holds
    nothing.

    `held` is the stack of held locks, oldest first, and `chain` its place among all stacks. `state` holds the
    irq bits of the next chain key. `hardirq_depth`, `softirq_depth` and `nmi_depth` count nested handlers,
    and `frames` keeps how many locks were held, and the irq bits, where each came in. `bh_disabled` and
    `preempt_count` count nested disables, `rcu_depth` nested rcu_read_lock() sections; `rcu_watching` is
    False in the idle loop. `scopes` holds the GFP bits that each memalloc scope forbids, `off` counts nested
    lockdep_off() calls, `pending` are reports not yet delivered, and `irq_events` counts the switches of
    interrupts, the last of which are kept. `wanted` is the map of the lock that the task waits for at this moment, if
    whoever runs the task says so: it is in `held` from the moment on at which it was asked for.
    """

    __slots__ = (
        "__weakref__",
        "_in_process",
        "bh_disabled",
        "chain",
        "comm",
        "frames",
        "hardirq_depth",
        "hardirq_off",
        "hardirq_on",
        "held",
        "irq_events",
        "nmi_depth",
        "off",
        "owner",
        "pending",
        "pid",
        "preempt_count",
        "rcu_depth",
        "rcu_watching",
        "scopes",
        "softirq_depth",
        "softirq_off",
        "softirq_on",
        "state",
        "wanted",
    )

    def __init__(self, comm: str, pid: int) -> None:
        self.comm = comm
        self.pid = pid
        self._in_process: Maker | None = None
        self.held: list[Held] = []
        self.chain: Chain = NO_CHAIN
        self.owner: object = None
        self.state = HARDIRQS_ON | SOFTIRQS_ON
        self.hardirq_depth = 0
        self.softirq_depth = 0
        self.nmi_depth = 0
        self.bh_disabled = 0
        self.preempt_count = 0
        self.rcu_depth = 0
        self.rcu_watching = True
        self.scopes: tuple[int, ...] = ()
        self.off = 0
        self.pending: list[Report] = []
        self.frames: list[tuple[int, int]] = []
        self.irq_events = 0
        self.wanted: LockMap | None = None
        self.hardirq_on = self.hardirq_off = self.softirq_on = self.softirq_off = _NEVER

    def reset(self) -> None:
        """Forget all but the name: the task is as no validator has seen it."""
        TaskContext.__init__(self, self.comm, self.pid)

    @property
    def hardirqs_enabled(self) -> bool:
        """True when a hardware interrupt may come."""
        return bool(self.state & HARDIRQS_ON)

    @property
    def softirqs_enabled(self) -> bool:
        """True when bottom halves may run."""
        return bool(self.state & SOFTIRQS_ON)

    @property
    def irq_context(self) -> int:
        """In which handlers the task is: IN_SOFTIRQ, IN_HARDIRQ and IN_NMI bits, 0 for process context."""
        return (
            (IN_SOFTIRQ if self.softirq_depth else 0)
            | (IN_HARDIRQ if self.hardirq_depth else 0)
            | (IN_NMI if self.nmi_depth else 0)
        )

    def parted(self) -> tuple[list[Held], Held | None]:
        """What the task holds, oldest first, and the entry of the lock that it only waits for."""
        # From the top: a lock is in `held` from the moment on at which it is asked for, and so is the newest.
        for at in range(len(self.held) - 1, -1, -1):
            if self.held[at][0] is self.wanted:
                return self.held[:at] + self.held[at + 1 :], self.held[at]
        return self.held, None

    @property
    def maker(self) -> Maker:
        """The task as it is now, to be named later."""
        # In process context, where nearly all is done, it is always the same one.
        if self.hardirq_depth or self.softirq_depth or self.nmi_depth:
            return Maker(self.comm, self.pid, self.irq_context)
        made = self._in_process
        if made is None:
            made = self._in_process = Maker(self.comm, self.pid, 0)
        return made

    def __repr__(self) -> str:
        return f"<TaskContext {self.comm}/{self.pid}>"
