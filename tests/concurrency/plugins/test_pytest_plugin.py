"""The pytest plugin, as its user meets it."""

from __future__ import annotations

import re
import shlex

import pytest

pytest_plugins = ("pytester",)

PLUGIN = ("-p", "sugarbush.concurrency.plugins.pytest_plugin")

RACY = """
import pytest
from sugarbush.concurrency import Mutex, Once, Shared, join, spawn

class Account(Shared):
    balance: Once[int] = 0

{marker}
def test_deposits({fixture}):
    account, lock = Account(), Mutex("account")

    def deposit():
        with lock:
            before = account.balance
        {again}
            account.balance = before + 10

    join(spawn(deposit, name="ann"), spawn(deposit, name="bob"))
    assert account.balance == 20

def test_something_else():
    pass
"""


def source(marker: str = "@pytest.mark.sugarbush", again: str = "with lock:", fixture: str = "") -> str:
    return RACY.format(marker=marker, again=again, fixture=fixture)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *arguments)


def replay_line(result: pytest.RunResult) -> list[str]:
    """The one line; where CI is set, pytest says it again in its summary."""
    (line,) = {line for line in result.outlines if line.startswith("replay: pytest ")}
    return shlex.split(line.removeprefix("replay: pytest "))


def test_a_marked_test_fails_under_the_schedule_that_breaks_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(source())
    result = run(pytester)
    result.assert_outcomes(failed=1, passed=1)
    text = result.stdout.str()
    assert "AssertionError: assert 10 == 20" in text
    assert "1 preemption is enough" in text
    assert re.search(r"if (ann|bob)'s write\(Account.balance\) at .* had come before", text)


def test_the_line_that_it_prints_replays_just_that(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(source())
    arguments = replay_line(run(pytester))
    assert arguments[0].endswith(".py::test_deposits")
    assert arguments[1].startswith("--schedule=s1:")
    again = run(pytester, *arguments)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*AssertionError: assert 10 == 20*"])


def test_without_the_marker_it_is_an_ordinary_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_plain():\n    pass\n")
    run(pytester).assert_outcomes(passed=1)


def test_the_repaired_test_passes_under_the_schedule_that_broke_it(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(test_it=source())
    arguments = replay_line(run(pytester))
    pytester.makepyfile(test_it=source().replace("balance == 20", "balance in (10, 20)"))
    run(pytester, f"{path.name}::test_deposits", arguments[1]).assert_outcomes(passed=1)


def test_a_schedule_that_ends_early_goes_on_with_the_fewest_switches(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(source())
    run(pytester, "-k", "deposits", "--schedule=s1:0").assert_outcomes(passed=1, deselected=1)


def test_the_marker_passes_options_on(pytester: pytest.Pytester) -> None:
    for marker, outcome in (
        ("@pytest.mark.sugarbush(executions=1, strategy='dfs_no')", "no strategy is called 'dfs_no'"),
        ("@pytest.mark.sugarbush(schedules=3)", "the marker sugarbush is not understood"),
    ):
        pytester.makepyfile(source(marker))
        result = run(pytester)
        result.assert_outcomes(failed=1, passed=1)
        assert outcome in result.stdout.str()
    pytester.makepyfile(source("@pytest.mark.sugarbush(strategy='random', seed=7, executions=40)"))
    result = run(pytester)
    assert re.search(r"of 40 \(random, seed 7\)", result.stdout.str())


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [("nonsense", "a schedule starts with 's1:'"), ("s1:0*2,9*4", "does not fit the test any more")],
)
def test_a_bad_schedule_is_told_in_words(pytester: pytest.Pytester, schedule: str, complaint: str) -> None:
    pytester.makepyfile(source())
    result = run(pytester, "-k", "deposits", f"--schedule={schedule}")
    result.assert_outcomes(failed=1, deselected=1)
    assert complaint in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_a_schedule_needs_exactly_one_marked_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(source())
    result = run(pytester, "-k", "something_else", "--schedule=s1:0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--schedule replays one test that is marked sugarbush, not 0*"])


def test_fixtures_and_skips_work(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from sugarbush.concurrency import Atomic, Shared, atomic_inc, join, spawn

        class Count(Shared):
            n: Atomic[int] = 0

        @pytest.fixture
        def limit():
            return 3

        @pytest.mark.sugarbush(executions=5)
        @pytest.mark.parametrize("more", [1])
        def test_fixture(limit, more):
            count = Count()
            join(*[spawn(atomic_inc, count, "n") for _ in range(limit)])
            assert count.n + more == 4

        @pytest.mark.sugarbush
        def test_skipped():
            pytest.skip("not today")

        @pytest.mark.sugarbush
        async def test_coroutine():
            pass
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, skipped=1, failed=1)
    assert "is an async def" in result.stdout.str()


ENDLESS = """
import pytest
from sugarbush.concurrency import Mutex, Once, Shared, join, spawn

class Flag(Shared):
    up: Once[int] = 0

@pytest.mark.timeout({seconds}, method="{method}")
@pytest.mark.sugarbush(executions=1, strategy="random")
def test_endless():
    gate, flag = Mutex("gate"), Flag()

    def spins():
        with gate:
            while True:
                pass

    def waits():
        gate.lock()

    spin = spawn(spins, name="spinner")
    join(spin, spawn(waits, name="waiter"))
"""


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_a_time_out_says_what_every_task_does(pytester: pytest.Pytester, method: str) -> None:
    pytest.importorskip("pytest_timeout")
    pytester.makepyfile(ENDLESS.format(seconds=1, method=method))
    result = pytester.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider")
    text = result.stdout.str() + result.stderr.str()
    assert "Tasks" in text
    assert re.search(r"task 0 \(main\): it (waits in join\(|could go on|has not)", text)
    assert re.search(r"task 1 \(spinner\): it is running\n +holds gate", text)
    assert "Timeout" in text


METHODS = """
import unittest
import pytest
from sugarbush.concurrency import Once, Shared, join, spawn

class Cell(Shared):
    value: Once[int] = 0

class TestMethods:
    @pytest.fixture
    def limit(self):
        return 2

    @pytest.mark.sugarbush(executions=50, strategy="random")
    @pytest.mark.parametrize("times", [1, 2], ids=["one time", "two"])
    def test_adds(self, times, limit):
        cell = Cell()

        def add():
            for _ in range(times):
                cell.value = cell.value + 1

        join(spawn(add, name="ann"), spawn(add, name="bob"))
        assert cell.value == limit * times
"""


def test_methods_and_parameters_replay_one_by_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(METHODS)
    result = run(pytester)
    result.assert_outcomes(failed=2)
    lines = {line for line in result.outlines if line.startswith("replay: pytest ")}
    assert len(lines) == 2
    for line in lines:
        arguments = shlex.split(line.removeprefix("replay: pytest "))
        assert re.search(r"::TestMethods::test_adds\[(one time|two)\]$", arguments[0])
        run(pytester, *arguments).assert_outcomes(failed=1)


def test_a_marker_where_it_has_no_effect_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import unittest
        import pytest

        class Deposits(unittest.TestCase):
            @pytest.mark.sugarbush
            def test_nothing(self):
                pass
        """
    )
    result = run(pytester)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "not one of unittest.TestCase" in result.stdout.str()


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("executions=20", "inconclusive after 20 executions (pct): some of the schedules"),
        (
            "strategy='dfs', depth=0",
            "passed after 1 executions (dfs): every schedule within preemption bound 0",
        ),
        ("strategy='dpor'", "passed after 2 executions (dpor): every trace"),
    ],
)
def test_what_was_seen_is_in_the_report(pytester: pytest.Pytester, marker: str, said: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        from sugarbush.concurrency import Once, Shared, spawn

        class Cell(Shared):
            value: Once[int] = 0

        @pytest.mark.sugarbush({marker})
        def test_two_writes():
            cell = Cell()
            spawn(setattr, cell, "value", 1)
            cell.value = 2
        """
    )
    result = run(pytester, "-rP")
    result.assert_outcomes(passed=1)
    assert said in result.stdout.str()


def test_the_marker_has_the_settings_of_an_execution(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from sugarbush.concurrency import Once, Shared

        class Cell(Shared):
            value: Once[int] = 0

        @pytest.mark.sugarbush(executions=1, max_steps=50)
        def test_long():
            cell = Cell()
            for _ in range(100):
                cell.value = 1
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    assert "within 50 operations" in result.stdout.str()


def test_a_test_that_explores_nothing_is_red(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading
        import pytest
        from sugarbush.concurrency import Atomic, Shared, atomic_inc, join, spawn

        class Count(Shared):
            n: Atomic[int] = 0

        @pytest.mark.sugarbush(executions=5)
        def test_apart():
            join(spawn(int), spawn(int))

        @pytest.mark.sugarbush(executions=5)
        def test_threads():
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()

        @pytest.mark.sugarbush(executions=5)
        def test_exits():
            count = Count()
            join(spawn(atomic_inc, count, "n"), spawn(atomic_inc, count, "n"))
            raise SystemExit(0)

        @pytest.mark.sugarbush(executions=0)
        def test_no_executions():
            pass
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=4)
    text = result.stdout.str()
    for words in (
        "nothing was explored",
        "starts a Thread",
        "SystemExit: 0",
        "executions must be a whole number above 0",
    ):
        assert words in text
