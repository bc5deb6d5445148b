"""The pytest plugin: a marked test runs under many schedules, and a failure names the one that replays it.

    @pytest.mark.sugarbush(executions=500, strategy="pct", seed=1)
    def test_deposits() -> None: ...

Keyword arguments: `executions`, `strategy`, `depth`, `seed` as for `explore`; `without`, `faults`, `spurious`,
`memory` and `max_steps` as for `Settings`. The whole test function is the program, so it must build its own state; a
fixture is made once for all executions. Described in docs/pytest.md.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
import unittest
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sugarbush.concurrency.checks import describe_tasks
from sugarbush.concurrency.core import (
    BadSchedule,
    ConcurrencyError,
    Failure,
    Schedule,
    Task,
    no_failures,
    no_threads,
    run_heard,
)
from sugarbush.concurrency.runtimes import DEFAULT_MAX_STEPS, Settings
from sugarbush.concurrency.search import explore
from sugarbush.concurrency.strategies import DEFAULT_STRATEGY, Replay
from sugarbush.concurrency.witness import Witness, explain, minimise

MARKER = "sugarbush"
_MINIMISE_TRIES = 500
_EXPLAIN_TRIES = 200


@dataclass(frozen=True, slots=True)
class _Options:
    """What the marker says."""

    executions: int = 1000
    strategy: str = DEFAULT_STRATEGY
    depth: int | None = None
    seed: int = 1
    without: tuple[str, ...] = ()
    faults: int = 0
    spurious: int = 0
    memory: str = "sc"
    max_steps: int = DEFAULT_MAX_STEPS

    @property
    def settings(self) -> Settings:
        without = self.without
        return Settings(
            without=frozenset(without) if isinstance(without, list | tuple | set) else without,
            faults=self.faults,
            spurious=self.spurious,
            memory=self.memory,
            max_steps=self.max_steps,
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--schedule``."""
    parser.getgroup("sugarbush").addoption(
        "--schedule", metavar="SCHEDULE", help="Replay one schedule of one test that is marked sugarbush."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    # Raised inside a program they speak of the test, not of the program: only pytest.fail() is a failure of that.
    no_failures.extend((pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception))
    config.addinivalue_line(
        "markers",
        "sugarbush(executions=1000, strategy='pct', depth=None, seed=1, without=(), faults=0, spurious=0, "
        f"memory='sc', max_steps={DEFAULT_MAX_STEPS}): "
        "run the test under many schedules of its tasks.",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """A schedule belongs to one test."""
    if session.config.getoption("schedule"):
        marked = sum(item.get_closest_marker(MARKER) is not None for item in session.items)
        if marked != 1:
            raise pytest.UsageError(f"--schedule replays one test that is marked sugarbush, not {marked}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marker where it would have no effect is an error: nothing would be explored, and the test would pass."""
    if item.get_closest_marker(MARKER) is not None and (
        not isinstance(item, pytest.Function) or issubclass(item.cls or object, unittest.TestCase)
    ):
        pytest.fail(
            "only a test function, or a method of a plain class, can be marked sugarbush: not one of unittest.TestCase",
            pytrace=False,
        )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Explore a marked test, or replay the one schedule that was asked for."""
    marker = pyfuncitem.get_closest_marker(MARKER)
    if marker is None:
        return None
    try:
        options = _Options(*marker.args, **marker.kwargs)
    except TypeError as error:
        pytest.fail(f"the marker sugarbush is not understood: {error}", pytrace=False)
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    program = partial(pyfuncitem.obj, **arguments)
    text = pyfuncitem.config.getoption("schedule")
    try:
        told = _replayed(program, options, text) if text else _explored(program, options, pyfuncitem)
    except ConcurrencyError as error:
        told = str(error)
    if told:
        pytest.fail(told, pytrace=False)
    return True


def _explored(program: Callable[[], Any], options: _Options, test: pytest.Item) -> str | None:
    """What failed, in words; what was seen is a section of the report either way."""
    result = explore(
        program,
        strategy=options.strategy,
        depth=options.depth,
        executions=options.executions,
        seed=options.seed,
        settings=options.settings,
    )
    # explore() gives what was found by then; pytest has to end, too.
    if result.interrupted:
        raise KeyboardInterrupt
    seen = f"{result.verdict.value} after {result.executions} executions ({result.strategy}): {result.scope}"
    test.add_report_section("call", MARKER, seen)
    if result.unexplored:
        # Green would say that every order of what the tasks do is fine, of which not two were tried.
        return result.unexplored
    if not result.failures:
        return None
    witness = minimise(program, result.failures[0], options.settings, _MINIMISE_TRIES)
    why = explain(program, witness, options.settings, _EXPLAIN_TRIES)
    lines = [
        _told(witness.failure),
        f"found in execution {result.executions} of {options.executions} ({options.strategy}, seed "
        f"{options.seed}); {_times(witness)} enough",
    ]
    lines += why.lines if why.pairs else []
    return "\n".join(
        [*lines, f"replay: pytest {shlex.quote(_name_from_here(test))} {_option(witness.schedule)}"]
    )


def _name_from_here(test: pytest.Item) -> str:
    """The name of a test as it is typed where pytest was started, which need not be the root that names begin at."""
    file, colons, rest = test.nodeid.partition("::")
    full = test.config.rootpath / file
    if not full.exists():
        return test.nodeid
    return Path(os.path.relpath(full, test.config.invocation_params.dir)).as_posix() + colons + rest


def _times(witness: Witness) -> str:
    count = witness.preemptions
    return f"{count} preemption is" if count == 1 else f"{count} preemptions are"


def _option(schedule: Schedule) -> str:
    return shlex.quote(f"--schedule={schedule}")


def _told(failure: Failure) -> str:
    told = f"{failure.headline}\n{failure.detail}".rstrip()
    return f"{told}\nin task {failure.task} at operation {failure.step}"


def _replayed(program: Callable[[], Any], options: _Options, text: str) -> str | None:
    schedule = Schedule.parse(text)
    try:
        with no_threads():
            execution = run_heard(options.settings.runtime(_ThenOn(schedule), stacks=True), program, 0)
    except BadSchedule as error:
        raise BadSchedule(f"the schedule does not fit the test any more: {error}") from error
    return None if execution.failure is None else _told(execution.failure)


class _ThenOn(Replay):
    """A schedule; behind its end, since its failure does not happen any more, the choices that switch least."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self._end = self._starts[-1]

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """As the schedule says; behind its end the current task goes on as long as it can."""
        if step < self._end:
            return super().choose(runnable, current, step, forced)
        self.lease = 1
        return runnable[0] if current is None else current

    def data(self, n: int, label: str) -> int:
        """As the schedule says; behind its last value 0."""
        return super().data(n, label) if self._data else 0


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """As pytest-timeout does it, but when the time is up, say first what every task is doing."""
    import pytest_timeout  # type: ignore[import-not-found,import-untyped,unused-ignore]

    in_main_thread = threading.current_thread() is threading.main_thread()
    if settings.method == "signal" and in_main_thread:

        def handler(_number: int, _frame: object) -> None:
            _say(item)
            pytest_timeout.timeout_sigalrm(item, settings)

        def cancel() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

        item.cancel_timeout = cancel  # type: ignore[attr-defined]
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout)
        return True

    def fire() -> None:
        _say(item)
        pytest_timeout.timeout_timer(item, settings)

    timer = threading.Timer(settings.timeout, fire)
    timer.name = f"sugarbush {item.nodeid}"

    def cancel_timer() -> None:
        timer.cancel()
        timer.join()

    item.cancel_timeout = cancel_timer  # type: ignore[attr-defined]
    timer.start()
    return True


def _say(item: pytest.Item) -> None:
    """Print what the tasks are doing, past the capturing of output; nothing if no program runs."""
    told = describe_tasks()
    if not told:
        return
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture()
    writer = item.config.get_terminal_writer()
    writer.line()
    writer.sep("+", title="Tasks")
    writer.line(told)
    writer.flush()
    if capture is not None:
        capture.resume_global_capture()
