"""An interrupt ends a threaded execution wherever it comes: nothing hangs, and nothing is left behind."""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from sugarbush.concurrency import Mutex, join, spawn
from sugarbush.concurrency.core import active
from sugarbush.concurrency.runtimes import threaded, threads
from sugarbush.concurrency.runtimes.threaded import Threaded

_FILES = {threaded.__file__, threads.__file__, threading.__file__}
_LOOKS = ("CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "RESUME")
"""After these the interpreter looks whether a signal came, and raises what its handler does."""


@contextmanager
def interrupted_at(moment: int) -> Iterator[list[str]]:
    """At the so many-th look of this thread inside of the runtime, or of `threading`, a KeyboardInterrupt comes.

    Gives a list that says where, which stays empty if there are fewer looks.
    """
    before: dict[FrameType, str] = {}
    looks, where = 0, list[str]()

    def traced(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal looks
        if frame.f_code.co_filename not in _FILES:
            return traced if event == "call" else None
        frame.f_trace_opcodes = True
        if event == "opcode":
            last, before[frame] = before.get(frame), dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if last in _LOOKS:
                looks += 1
                if looks == moment:
                    where.append(f"{frame.f_code.co_name}, line {frame.f_lineno}")
                    raise KeyboardInterrupt
        return traced

    kept = sys.gettrace()
    sys.settrace(traced)
    try:
        yield where
    finally:
        sys.settrace(kept)


def program() -> None:
    mutex = Mutex("m")

    def work() -> None:
        for _ in range(3):
            with mutex:
                pass

    join(spawn(work), spawn(work))


@pytest.mark.timeout(60)
def test_an_interrupt_ends_an_execution_at_whatever_moment_it_comes() -> None:
    moment, where = 0, ["somewhere"]
    while where:
        moment += 1
        runtime = Threaded()
        with interrupted_at(moment) as where:
            try:
                runtime.run(program)
            except KeyboardInterrupt:
                assert where
            else:
                assert not where, f"an interrupt in {where} is lost"
        assert active.runtime is None, f"the runtime is still there after an interrupt in {where}"
        # What a thread holds that was stopped nobody gets any more.
        assert runtime._lock.acquire(timeout=10), f"the lock is still held after an interrupt in {where}"
        runtime._lock.release()
    assert moment > 50, "the looks were counted"
