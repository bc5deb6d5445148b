"""Flag: tasks wait until it is set, with the face of `threading.Event`.

It has another name than there, because an `Event` is what the recorder keeps (`lowlevel.Event`).
"""

from __future__ import annotations

from sugarbush.concurrency.core import Access, Operation, Task, if_it_succeeds, might_sleep, perform
from sugarbush.concurrency.time import late, perform_timeout
from sugarbush.concurrency.waits.condition import to_jiffies


class Flag:
    """Set or not set, at first not."""

    # No `awaited`: any task may set it, so a circle of waits through a flag need not be a deadlock.
    __slots__ = ("_raised", "late", "name")

    def __init__(self, name: str = "flag") -> None:
        self.name = name
        self._raised = False
        self.late: dict[int, None] = {}

    def set(self) -> None:
        """Set it: all tasks that wait go on, and none has to wait until it is cleared."""
        perform(FLAG_SET, self)

    def clear(self) -> None:
        """Clear it: tasks that come from now on wait. Those that wait and have not gone on yet go on waiting."""
        perform(FLAG_CLEAR, self)

    def is_set(self) -> bool:
        """Whether it is set at this moment; if so, all that was done before it was set is visible."""
        return bool(perform(FLAG_IS_SET, self))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most `timeout` seconds; True if it is."""
        might_sleep()
        if timeout is None:
            return bool(perform(FLAG_WAIT, self))
        return self.is_set() or bool(perform_timeout(FLAG_WAIT_TIMEOUT, self, to_jiffies(timeout))[0])

    def __repr__(self) -> str:
        return f"<Flag {self.name}: {'set' if self._raised else 'not set'}>"


def _is_set(flag: Flag, _task: Task, _arg: object = None) -> bool:
    return flag._raised


def _is_set_or_late(flag: Flag, task: Task) -> bool:
    return flag._raised or late(flag, task)


def _set(flag: Flag, _task: Task, _arg: object) -> None:
    flag._raised = True


def _clear(flag: Flag, _task: Task, _arg: object) -> None:
    flag._raised = False


# A wait leaves the flag as it is, so all that wait can go on at once (alike).
_ORDER = ("set",)
FLAG_SET = Operation("set", effect=_set, wakes=True, releases=_ORDER, local=True)
FLAG_CLEAR = Operation("clear", effect=_clear, wakes=True, local=True)
FLAG_IS_SET = Operation(
    "is_set", Access.READ_ONCE, effect=_is_set, acquires=_ORDER, orders=if_it_succeeds, local=True
)
FLAG_WAIT = Operation("wait", ready=_is_set, alike=True, effect=_is_set, acquires=_ORDER, local=True)
FLAG_WAIT_TIMEOUT = Operation(
    "wait", ready=_is_set_or_late, effect=_is_set, acquires=_ORDER, orders=if_it_succeeds, local=True
)
