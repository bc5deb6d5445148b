"""References that are counted as long as an object is in use, and refused from the moment at which it is to go.

Kernel: lib/percpu-refcount.c, v6.1. Simpler here: one counter, not one a CPU; that is its speed and nothing else.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import Shared, Unshared, might_sleep
from sugarbush.concurrency.lowlevel import Operation, perform


class PercpuRef(Shared):
    """`count` tasks use the object; once it is `dead`, no other may begin to."""

    name: Unshared[str]
    count: Unshared[int] = 0
    dead: Unshared[bool] = False

    def __init__(self, name: str) -> None:
        super().__init__(name=name)


def _tryget(ref: PercpuRef, _task: Any, _arg: Any) -> bool:
    # In one step with the count: a user who has seen it alive is one whom `percpu_ref_wait` sees.
    if ref.dead:
        return False
    ref.count += 1
    return True


def _put(ref: PercpuRef, _task: Any, _arg: Any) -> None:
    assert ref.count, "a reference is given back by whoever has one"
    ref.count -= 1


def _kill(ref: PercpuRef, _task: Any, _arg: Any) -> None:
    ref.dead = True


def _is_idle(ref: PercpuRef, _task: Any) -> bool:
    return not ref.count


# What a user did with the object comes before all that is done after the wait: so a put hands on, and a wait takes.
_ORDER = ("users",)
TRYGET = Operation("percpu_ref_tryget_live", effect=_tryget, acquires=_ORDER, local=True)
PUT = Operation("percpu_ref_put", effect=_put, wakes=True, releases=_ORDER, local=True)
KILL = Operation("percpu_ref_kill", effect=_kill, releases=_ORDER, local=True)
WAIT = Operation("wait_for_completion", ready=_is_idle, acquires=_ORDER, local=True)


def percpu_ref_tryget_live(ref: PercpuRef) -> bool:
    """Use the object, unless it is about to go."""
    return bool(perform(TRYGET, ref))


def percpu_ref_put(ref: PercpuRef) -> None:
    """The end of a `percpu_ref_tryget_live` that gave True."""
    perform(PUT, ref)


def percpu_ref_kill(ref: PercpuRef) -> None:
    """From here on nobody new may use the object."""
    perform(KILL, ref)


def percpu_ref_wait(ref: PercpuRef) -> None:
    """Sleep until nobody uses the object any more: the completion that the release callback of the kernel's users ends.

    The object is killed already, or others might begin at any time.
    """
    might_sleep()
    perform(WAIT, ref)
