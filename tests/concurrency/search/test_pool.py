"""Workers that die, at any time, cost what they had in hand and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from multiprocessing.connection import wait
from typing import Any

import psutil
import pytest

from sugarbush.concurrency import ConcurrencyError
from sugarbush.concurrency.search import Processes


@pytest.fixture
def pool() -> Iterator[Processes]:
    with Processes(2) as pool:
        yield pool


def test_calls_are_made_in_other_processes(pool: Processes) -> None:
    assert pool.submit(os.getpid).result() != os.getpid()
    assert [one.result() for one in [pool.submit(abs, -number) for number in range(20)]] == list(range(20))


def test_what_a_call_raises_comes_back_and_says_where(pool: Processes) -> None:
    with pytest.raises(ZeroDivisionError) as info:
        pool.submit(divmod, 1, 0).result()
    assert "in a worker process:" in "".join(info.value.__notes__)
    assert pool.submit(abs, -1).result() == 1


def test_what_cannot_be_sent_is_said(pool: Processes) -> None:
    with pytest.raises(Exception, match=r"pickle|local object|Can't get"):
        pool.submit(lambda: 1).result()
    with pytest.raises(ConcurrencyError, match=r"a worker cannot send back <unlocked _thread\.lock"):
        pool.submit(threading.Lock).result()
    assert pool.submit(abs, -1).result() == 1


def test_a_worker_that_dies_breaks_its_own_call_only(pool: Processes) -> None:
    other = pool.submit(_slow, 1)
    with pytest.raises(BrokenExecutor, match="a worker process died"):
        pool.submit(os._exit, 3).result()
    assert pool.submit(abs, -1).result() == 1
    assert other.result() == 1


@pytest.mark.parametrize("delay", [0, 0.0001, 0.001, 0.01, 0.05, 0.2])
def test_a_worker_killed_at_any_time_is_noticed(delay: float) -> None:
    """While it starts, while it reads its work, while it writes a result that no pipe holds at once."""
    with Processes(2) as pool:
        futures = [pool.submit(_much, number) for number in range(6)]
        killer = threading.Thread(target=_kill_all_once, args=(delay,))
        killer.start()
        broken = 0
        for number, future in enumerate(futures):
            try:
                assert future.result()[0] == number
            except BrokenExecutor:
                broken += 1
        killer.join()
        assert broken <= 2
        assert pool.submit(abs, -1).result() == 1


def _kill_all_once(delay: float) -> None:
    while not multiprocessing.active_children():
        time.sleep(0)
    time.sleep(delay)
    children = multiprocessing.active_children()
    for child in children:
        os.kill(child.pid or 0, signal.SIGKILL)
    for child in children:
        wait([child.sentinel])


def test_a_worker_killed_while_it_has_no_work_costs_no_call() -> None:
    with Processes(1) as pool:
        assert pool.submit(abs, -1).result() == 1
        _kill_all_once(0)
        assert pool.submit(abs, -2).result() == 2


def test_a_child_that_a_dead_worker_leaves_keeps_nobody_waiting(pool: Processes) -> None:
    """It has inherited the worker's end of the pipe, which stays open therefore."""
    with pytest.raises(BrokenExecutor):
        pool.submit(_leave_a_child_and_die).result()


def test_shutting_down_ends_the_processes() -> None:
    pool = Processes(2)
    numbers = {pool.submit(_slow, os.getpid).result() and pool.submit(os.getpid).result() for _ in range(4)}
    pool.shutdown()
    assert not any(psutil.pid_exists(number) for number in numbers)


def test_a_program_that_forgets_to_shut_down_ends(tmp_path: Any) -> None:
    script = tmp_path / "forgets.py"
    script.write_text(
        "from sugarbush.concurrency.search import Processes\n"
        "if __name__ == '__main__':\n"
        "    pool = Processes(2)\n"
        "    print(pool.submit(abs, -1).result())\n"
    )
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def _slow(value: Any) -> Any:
    time.sleep(0.2)
    return value() if callable(value) else value


def _much(number: int) -> tuple[int, bytes]:
    return number, bytes(10_000_000)


def _leave_a_child_and_die() -> None:
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
    os._exit(1)
