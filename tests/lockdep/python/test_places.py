"""The short ways to take a lock say what the long one says: random programs, with each lock looked at every time."""

from __future__ import annotations

import gc
import random
import signal
import threading
import types
from typing import Any

import pytest

from sugarbush.lockdep import python as watched

HEAD = """
import gc, signal, threading
a, b = threading.Lock(), threading.Lock()
c = threading.RLock()
d = [threading.Lock() for _ in range(3)]
e = threading.RLock()
woken = threading.Event()
class Owner:
    def close(self):
        with e: pass
    def __del__(self):
        self.close()
class Cycle(Owner):
    def __init__(self): self.me = self
def other(work):
    thread = threading.Thread(target=work, name="other"); thread.start(); thread.join()
def handler(*_):
    with e: pass
def alarm():
    # In another thread it would come at any time.
    if threading.current_thread() is threading.main_thread(): signal.raise_signal(signal.SIGUSR2)
"""
LOCKS = ("a", "b", "c", "d[0]", "d[1]", "d[2]", "e")


class Writer:
    """A program of random statements, each of which may come so often that all short ways are gone."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.times = [1]
        """How often each block around is repeated."""

    def text(self) -> str:
        names = [f"body{number}" for number in range(self.random.randint(2, 4))]
        for name in names:
            self.lines.append(f"def {name}():")
            self._block(1, ())
        for name in names * 2:
            self.lines.append(self.random.choice((f"{name}()", f"other({name})")))
        return HEAD + "\n".join(self.lines) + "\n"

    def _add(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    def _block(self, depth: int, held: tuple[str, ...]) -> None:
        for _ in range(self.random.randint(1, 3)):
            self._statement(depth, held)

    def _statement(self, depth: int, held: tuple[str, ...]) -> None:
        pick = self.random.random()
        free = [lock for lock in LOCKS if lock not in held or lock in ("c", "e")]
        lock = self.random.choice(free)
        plain = lock not in held and lock not in ("c", "e")
        if depth > 4:
            self._add(depth, "pass")
        elif pick < 0.25:
            times = self.random.choice((2, 50, 90)) if max(self.times) < 50 else 2
            self._add(depth, f"for _ in range({times}):")
            self.times.append(times)
            self._block(depth + 1, held)
            self.times.pop()
        elif pick < 0.6:
            self._add(depth, f"with {lock}:")
            self._block(depth + 1, (*held, lock))
        elif pick < 0.72:
            self._add(depth, f"{lock}.acquire()")
            self._add(depth, "if True:")
            self._block(depth + 1, (*held, lock))
            self._add(depth, f"{lock}.release()")
        elif pick < 0.76 and plain:
            # Given back by another thread, or not in the order in which they were taken.
            self._add(depth, f"{lock}.acquire(); other({lock}.release)")
        elif pick < 0.8 and plain and len(free) > 3:
            second = self.random.choice([one for one in free if one not in (lock, "c", "e")] or ["c"])
            self._add(depth, f"{lock}.acquire(); {second}.acquire(); {lock}.release(); {second}.release()")
        elif pick < 0.84 and plain:
            self._add(depth, f"if {lock}.acquire(False): {lock}.release()")
        elif pick < 0.88:
            self._add(depth, self.random.choice(("Owner()", "Cycle(); gc.collect(0)", "Owner().close()")))
        elif pick < 0.92:
            self._add(depth, self.random.choice(("woken.set()", "woken.set(); woken.wait()")))
        elif pick < 0.95:
            self._add(depth, "gc.disable(); gc.enable()")
        elif pick < 0.97 and "e" not in held:
            self._add(depth, "alarm()")
        else:
            self._add(depth, "pass")


def outcome(text: str, *, slowly: bool) -> tuple[list[str], list[tuple[str, str]], list[Any]]:
    """What is reported of a program, the order of its locks that was learnt, and what its main thread holds then."""
    before, threshold = signal.getsignal(signal.SIGUSR2), gc.get_threshold()
    gc.collect()
    # The collector runs when the program says so: anywhere else a finaliser could wait for what its own thread has.
    gc.set_threshold(0)
    program = watched.install(show=False, adopt=False)
    try:
        program.always_slow = program.current().slow = slowly
        module = types.ModuleType("random_program")
        code = compile(text, "random_program.py", "exec")
        signal.signal(signal.SIGUSR2, lambda *_: module.__dict__["handler"]())
        exec(code, module.__dict__)
        program.settle()
        classes = program.lockdep.state().classes
        edges = sorted((one.title, edge.next.title) for one in classes for edge in one.after.values())
        told = [program.tell(report) for report in program.lockdep.reports]
        held = [(entry[0].name, str(entry[1]), entry[3]) for entry in program.current().held]
        return told, edges, held
    finally:
        gc.set_threshold(*threshold)
        signal.signal(signal.SIGUSR2, before)
        watched.uninstall()


def agree(seed: int) -> None:
    text = Writer(seed).text()
    # From one line, since the stacks in the reports name it.
    expected, found = [outcome(text, slowly=slowly) for slowly in (True, False)]
    assert found == expected, text


@pytest.fixture(autouse=True)
def _alone() -> None:
    if watched.installed() is not None:
        pytest.skip("these tests install lockdep themselves: run them without --lockdep")


@pytest.mark.parametrize("seed", range(15))
def test_the_short_ways_say_what_the_long_one_says(seed: int) -> None:
    agree(seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(1_000, 1_500))
def test_the_short_ways_say_what_the_long_one_says_of_many(seed: int) -> None:
    agree(seed)


def both(first: Any, second: Any) -> None:
    with first, second:
        pass


def test_what_was_a_step_is_looked_at_once_the_instances_decide() -> None:
    program = watched.install(show=False, adopt=False)
    try:
        stages = [threading.Lock() for _ in range(8)]
        pipes = [threading.Lock() for _ in range(8)]
        for stage, pipe in zip(stages, pipes, strict=True):
            for _ in range(100):
                both(stage, pipe)
        both(pipes[0], stages[1])
        assert program.failures == []
        both(stages[5], pipes[5])
        both(pipes[5], stages[6])
        both(stages[6], pipes[6])
        assert program.failures == []
        both(pipes[6], stages[5])
        assert [str(report.kind) for report in program.failures] == ["circular-locking"]
    finally:
        watched.uninstall()


def test_a_step_counts_for_the_stretch_of_work_in_which_it_is_made() -> None:
    program = watched.install(show=False, adopt=False)
    try:
        lock, ready, go = threading.Lock(), threading.Event(), threading.Event()

        def take(times: int) -> None:
            for _ in range(times):
                with lock:
                    pass

        def work() -> None:
            take(100)
            ready.set()
            go.wait()
            take(1)

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait()
        go.set()
        while thread.is_alive():
            pass
        with lock:
            thread.join()
        assert [str(report.kind) for report in program.failures] == ["wait-under-lock"]
    finally:
        watched.uninstall()


def test_a_lock_that_is_dropped_while_it_is_held_is_still_told() -> None:
    program = watched.install(show=False, adopt=False)
    try:

        def work() -> None:
            lock = threading.Lock()
            for number in range(100):
                lock.acquire()
                if number < 99:
                    lock.release()

        thread = threading.Thread(target=work, name="worker")
        thread.start()
        thread.join()
        (report,) = program.failures
        assert "thread 'worker' ended with locks that it still holds" in program.tell(report)
        assert "lock of " in program.tell(report)
    finally:
        watched.uninstall()


def test_a_lock_that_another_thread_gave_back_is_not_held_while_that_is_joined() -> None:
    program = watched.install(show=False, adopt=False)
    try:
        turn, lock = threading.Lock(), threading.Lock()

        def work() -> None:
            turn.release()
            for _ in range(2):
                with lock:
                    pass
                turn.acquire()
                turn.release()

        turn.acquire()
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            pass
        thread.join()
        assert [program.tell(report) for report in program.failures] == []
    finally:
        watched.uninstall()
