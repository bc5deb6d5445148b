"""A program as it is: the runner, the plugin, what must not change."""

from __future__ import annotations

import contextlib
import copy
import gc
import inspect
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sugarbush.lockdep import python as watched
from sugarbush.lockdep.python import Program

ROOT = Path(__file__).resolve().parents[3] / "src"
INVERSION = """
import threading
class Pool:
    def __init__(self):
        self.lock = threading.Lock()
        self.free = threading.RLock()
pool = Pool()
def forth():
    with pool.lock, pool.free: pass
def back():
    with pool.free, pool.lock: pass
for work in (forth, back):
    thread = threading.Thread(target=work, name=work.__name__); thread.start(); thread.join()
"""


@pytest.fixture
def program() -> Iterator[Program]:
    if watched.installed() is not None:
        pytest.skip("these tests install lockdep themselves: run them without --lockdep")
    try:
        yield watched.install(show=False, adopt=False)
    finally:
        watched.uninstall()


def lockdep(tmp_path: Path, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    if text is not None:
        (tmp_path / "program.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "sugarbush", "lockdep", "run", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_script_runs_as_it_is_and_what_was_found_is_told_and_saved(tmp_path: Path) -> None:
    text = INVERSION + "import sys; print(sys.argv, __name__, sys.modules['__main__'].pool is pool)\n"
    files = [f"--{form}=out.{form}" for form in ("json", "sarif", "html")]
    done = lockdep(tmp_path, *files, "program.py", "-x", "y", text=text)
    assert done.returncode == 1
    assert done.stdout == "['program.py', '-x', 'y'] __main__ True\n"
    assert "Pool.lock (made at program.py:5)" in done.stderr
    assert "thread 'forth' took Pool.lock at program.py:9, then Pool.free here:" in done.stderr
    assert "thread 'back' takes Pool.free at program.py:11, then Pool.lock here:" in done.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["reports"]
    assert row["kind"] == "circular-locking"
    sarif = json.loads((tmp_path / "out.sarif").read_text())
    assert sarif["version"] == "2.1.0"
    (result,) = sarif["runs"][0]["results"]
    assert result["level"] == "error"
    assert {place["physicalLocation"]["region"]["startLine"] for place in result["relatedLocations"]} == {
        9,
        11,
    }
    assert "Pool.lock" in (tmp_path / "out.html").read_text()


def test_the_programs_own_end_is_its_end(tmp_path: Path) -> None:
    clean = "import atexit, sys, threading\nlock = threading.Lock()\natexit.register(print, 'last')\n"
    assert lockdep(tmp_path, "--quiet", "program.py", text=clean).stdout == "last\n"
    assert lockdep(tmp_path, "program.py", text=clean + "sys.exit(7)\n").returncode == 7
    done = lockdep(tmp_path, "program.py", text="def f():\n    raise ValueError('mine')\nf()\n")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n  File")
    assert "lockdep" not in done.stderr.partition("ValueError: mine")[0]
    kernel = lockdep(tmp_path, "--kernel", "program.py", text=INVERSION)
    assert "WARNING: possible circular locking dependency detected" in kernel.stderr
    module = lockdep(tmp_path, "-m", "program", text=INVERSION)
    assert module.returncode == 1


@pytest.mark.parametrize(
    "wrong", [["nowhere.py"], ["-m", "nowhere_at_all"], [], ["--json", ".", "program.py"]]
)
def test_what_cannot_be_run_is_one_line(tmp_path: Path, wrong: list[str]) -> None:
    done = lockdep(tmp_path, *wrong, text="")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_hang_explains_itself(tmp_path: Path) -> None:
    text = """
import os, threading
a, b = threading.Lock(), threading.Lock()
meet = threading.Barrier(2)
def take(first, second):
    with first:
        meet.wait()
        with second: pass
threads = [threading.Thread(target=take, args=pair, daemon=True, name=name)
           for name, pair in (("one", (a, b)), ("two", (b, a)))]
for thread in threads: thread.start()
for thread in threads: thread.join(3)
os._exit(3)
"""
    done = lockdep(tmp_path, "--hang", "1", "program.py", text=text)
    assert done.returncode == 3
    assert "deadlock: these threads wait for each other now" in done.stderr
    assert "DEADLOCK:" in done.stderr
    assert "which thread 'one' holds" in done.stderr


def test_a_lock_before_a_fork_and_in_the_child(tmp_path: Path) -> None:
    text = """
import os, sys, threading
lock, go = threading.Lock(), threading.Event()
if REPAIRED:
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
def work():
    with lock: pass
    taken.append(1)
    go.wait()
taken = []
thread = threading.Thread(target=work, name="worker"); thread.start()
while not taken: pass
child = os.fork()
if not child:
    with lock: pass
    sys.stderr.flush()
    os._exit(0)
os.waitpid(child, 0); go.set(); thread.join()
"""
    for repaired in (False, True):
        done = lockdep(tmp_path, "program.py", text=text.replace("REPAIRED", str(repaired)))
        assert ("a child process takes a lock" in done.stderr) is not repaired, done.stderr


def test_a_lock_that_the_main_thread_holds_when_the_interpreter_ends(tmp_path: Path) -> None:
    text = """
import threading
lock = threading.Lock()
lock.acquire()
if REPAIRED: lock.release()
"""
    for repaired in (False, True):
        done = lockdep(tmp_path, "program.py", text=text.replace("REPAIRED", str(repaired)))
        assert ("'MainThread' ended with locks that it still holds" in done.stderr) is not repaired, (
            done.stderr
        )
        assert done.returncode == int(not repaired)


def test_where_there_is_no_room_for_a_check_a_lock_is_taken_all_the_same(program: Program) -> None:
    def down(left: int) -> None:
        if left:
            down(left - 1)
            return
        a, b = threading.Lock(), threading.RLock()
        with a, b:
            pass

    depth = len(inspect.stack(0))
    for room in range(16, 80, 2):
        down(sys.getrecursionlimit() - depth - room)
    assert program.failures == []
    a, b = threading.Lock(), threading.Lock()
    with a, b:
        pass
    with b, a:
        pass
    assert [str(report.kind) for report in program.failures] == ["circular-locking"]


def pytest_run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "sugarbush.lockdep.python.plugin",
            "-p",
            "no:cacheprovider",
            "-q",
            *arguments,
        ],
        cwd=path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text("import threading\na = threading.Lock()\nb = threading.Lock()\n")
    (tmp_path / "test_one.py").write_text("from app import a, b\ndef test_forth():\n    with a, b: pass\n")
    (tmp_path / "test_two.py").write_text("from app import a, b\ndef test_back():\n    with b, a: pass\n")
    return tmp_path


def test_the_test_that_closes_a_cycle_fails(suite: Path) -> None:
    done = pytest_run(suite, "--lockdep")
    assert done.returncode == 1
    assert "FAILED test_two.py::test_back" in done.stdout
    assert "app.a (made at" in done.stdout
    told = pytest_run(suite, "--lockdep=report")
    assert told.returncode == 0
    assert "lockdep: 1 possible deadlock" in told.stdout
    assert pytest_run(suite).returncode == 0


def test_a_baseline_holds_what_is_known(suite: Path) -> None:
    assert pytest_run(suite, "--lockdep", "--lockdep-baseline", "known.json").returncode == 4
    written = pytest_run(suite, "--lockdep", "--lockdep-baseline=known.json", "--lockdep-update-baseline")
    assert written.returncode == 0
    # Lines may move.
    (suite / "test_two.py").write_text("from app import a, b\n\n\ndef test_back():\n    with b, a: pass\n")
    done = pytest_run(suite, "--lockdep", "--lockdep-baseline=known.json")
    assert done.returncode == 0
    assert "1 known" in done.stdout


def test_an_inversion_between_two_workers_is_seen(suite: Path) -> None:
    done = pytest_run(
        suite, "--lockdep", "-p", "xdist.plugin", "-p", "xdist.looponfail", "-n", "2", "--dist", "loadfile"
    )
    assert "2 passed" in done.stdout
    assert "lockdep: 1 possible deadlock" in done.stdout
    assert done.returncode == 1


def test_locks_of_a_watched_program_look_like_real_ones(program: Program) -> None:
    for made, kind in ((threading.Lock(), type(real_lock())), (threading.RLock(), type(real_rlock()))):
        lock: Any = made
        assert isinstance(lock, kind)
        assert repr(lock).startswith("<unlocked _thread.")
        assert weakref.ref(lock)() is lock
        assert {lock: 1}[lock] == 1
        for spoil in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot pickle '_thread"):
                spoil(lock)
        with lock:
            assert not lock.acquire(blocking=False) or kind is type(real_rlock())
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        threading.Lock().release()
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        threading.RLock().release()


def real_lock() -> Any:
    import _thread

    return _thread.allocate_lock()


def real_rlock() -> Any:
    import _thread

    return _thread.RLock()


def test_a_guarded_cycle_fails_nothing_until_the_guard_is_gone(program: Program) -> None:
    gate, a, b = threading.Lock(), threading.Lock(), threading.Lock()
    with gate, a, b:
        pass
    with gate, b, a:
        pass
    assert program.failures == []
    (hint,) = program.lockdep.reports
    assert "a common lock keeps that from a deadlock" in program.tell(hint)


def test_a_guarded_cycle_of_instances_fails_nothing(program: Program) -> None:
    gate = threading.Lock()
    accounts = [threading.Lock() for _ in range(2)]
    with gate, accounts[0], accounts[1]:
        pass
    with gate, accounts[1], accounts[0]:
        pass
    assert program.failures == []
    with accounts[0], accounts[1]:
        pass
    assert [str(report.kind) for report in program.failures] == ["circular-locking"]


def test_stages_that_live_side_by_side_are_an_order_of_instances(program: Program) -> None:
    stages = [threading.Lock() for _ in range(4)]
    pipes = [threading.Lock() for _ in range(4)]
    for index in range(3):
        with stages[index], pipes[index]:
            pass
        with pipes[index], stages[index + 1]:
            pass
    assert program.failures == []
    with stages[3], pipes[3]:
        pass
    with pipes[3], stages[0]:
        pass
    assert [str(report.kind) for report in program.failures] == ["circular-locking"]


def test_a_lock_of_the_dying_objects_own_is_no_danger(program: Program) -> None:
    class File:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.me = self

        def write(self) -> None:
            with self.lock:
                pass

        def __del__(self) -> None:
            self.write()

    for _ in range(3):
        File().write()
    gc.collect()
    program.settle()
    assert program.failures == []


def test_order_of_destruction_and_a_million_short_lives_leave_nothing(program: Program) -> None:
    gone: list[int] = []

    class Owner:
        def __init__(self, number: int) -> None:
            self.number = number
            self.lock = threading.Lock()

        def __del__(self) -> None:
            gone.append(self.number)

    for number in range(3):
        owner = Owner(number)
        with owner.lock:
            pass
        del owner
        assert gone[-1] == number
    classes = len(program.lockdep.state().classes)
    for _ in range(3_000):
        a, b = threading.Lock(), threading.RLock()
        with a, b:
            pass
    assert len(program.lockdep.state().classes) <= classes + 2
    assert len(program.contexts) < 50


def test_what_modules_and_objects_had_before_is_adopted() -> None:
    if watched.installed() is not None:
        pytest.skip("these tests install lockdep themselves: run them without --lockdep")
    handler = logging.StreamHandler()
    condition = threading.Condition()
    before = condition._lock  # type: ignore[attr-defined]
    program = watched.install(show=False)
    try:
        lock = threading.Lock()
        assert handler.lock is not None
        with handler.lock, lock:
            pass
        with lock:
            handler.acquire()
            handler.release()
        names = [row.name for row in program.lockdep.state().classes]
        assert "StreamHandler.lock" in names
        assert [str(report.kind) for report in program.failures] == ["circular-locking"]
    finally:
        watched.uninstall()
    assert condition._lock is before  # type: ignore[attr-defined]
    with condition, contextlib.suppress(RuntimeError):
        condition.notify()


def test_a_program_that_replaces_threading_lock_itself_keeps_its_own(program: Program) -> None:
    ours = threading.Lock
    threading.Lock = real_lock  # type: ignore[misc,assignment]
    try:
        assert type(threading.Lock()) is type(real_lock())
    finally:
        threading.Lock = ours  # type: ignore[misc]
    assert program.failures == []


STRESS = """
import sys, threading
assert not getattr(sys, "_is_gil_enabled", lambda: True)() or "--with-gil" in sys.argv
from sugarbush.lockdep import python as lockdep
program = lockdep.install()
locks = [threading.Lock() for _ in range(2)]
a, b, c = threading.Lock(), threading.RLock(), threading.Lock()
start = threading.Barrier(8)
def work():
    start.wait()
    for _ in range(500):
        with a, b, c: pass
        with a, c: pass
        with b: pass
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert program.failures == [], program.failures
edges = sorted((one.title, next_.next.title) for one in program.lockdep.state().classes for next_ in one.after.values())
assert [pair for pair in edges if set(pair) <= {"a", "b", "c"}] == [("a", "b"), ("a", "c"), ("b", "c")], edges
with c, a: pass
assert [str(report.kind) for report in program.failures] == ["circular-locking"], program.failures
"""


def test_eight_threads_keep_one_graph_with_and_without_the_gil(tmp_path: Path) -> None:
    (tmp_path / "stress.py").write_text(STRESS)

    def run(python: str, *words: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [python, str(tmp_path / "stress.py"), *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    run(sys.executable, "--with-gil")
    free = next(filter(None, map(shutil.which, ("python3.14t", "python3.13t"))), None)
    if free is None:
        pytest.skip(
            "there is no free-threaded Python here (python3.13t or later): the run without the GIL is left out"
        )
    run(free)
