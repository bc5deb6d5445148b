"""Wait queues: who is woken, lost wake-ups, deadlines, sleeping in the wrong state."""

from __future__ import annotations

from typing import Any

import pytest
from concurrency_programs import Cell, clean, every_schedule, first_failure, outcomes

from sugarbush.concurrency import (
    TASK_RUNNING,
    TASK_UNINTERRUPTIBLE,
    ConcurrencyError,
    Kind,
    Mutex,
    Settings,
    WaitQueue,
    check,
    current_task,
    explore,
    jiffies,
    join,
    schedule,
    schedule_timeout,
    set_current_state,
    spawn,
    wake_up_process,
)


def test_wait_event_returns_when_the_condition_holds(run) -> None:
    def program(tasks: int) -> None:
        queue, cell = WaitQueue("queue"), Cell()

        def wait() -> None:
            queue.wait_event(lambda: cell.once == 2)
            check(cell.once == 2, "not before")

        waiters = [spawn(wait) for _ in range(tasks)]
        for value in (1, 2):
            cell.once = value
            queue.wake_up()
        join(*waiters)

    assert run(lambda: program(2)) is None
    every_schedule(lambda: program(1))


def lost(checks_again: bool) -> Any:
    """A waiter that goes to sleep, with or without another look once it is on the queue."""

    def program() -> None:
        queue, cell = WaitQueue("queue"), Cell()

        def wait() -> None:
            while not cell.once:
                queue.prepare_to_wait()
                if not (checks_again and cell.once):
                    schedule()
                queue.finish_wait()

        waiter = spawn(wait, name="waiter")
        cell.once = 1
        queue.wake_up()
        join(waiter)

    return program


@pytest.mark.parametrize("strategy", ["dfs", "dpor", "random", "pct"])
def test_a_lost_wake_up_is_a_deadlock_at_once(strategy: str) -> None:
    failure = first_failure(lost(False), strategy=strategy)
    assert failure.kind is Kind.DEADLOCK
    assert "waiter waits in schedule(queue)" in failure.detail
    assert failure.step < 30


def test_a_look_from_the_queue_loses_no_wake_up() -> None:
    every_schedule(lost(True))


def test_a_lost_wake_up_is_found_on_threads_too() -> None:
    """The wake-up comes between the waiter's look and its sleep, for certain."""

    def program() -> None:
        queue, cell, looked = WaitQueue("queue"), Cell(), Cell()

        def wait() -> None:
            if not cell.once:
                looked.once = 1
                while not cell.count:
                    pass
                queue.prepare_to_wait()
                schedule()

        spawn(wait, name="waiter")
        while not looked.once:
            pass
        cell.once = 1
        queue.wake_up()
        cell.count = 1

    failure = explore(program, runtime="threaded", executions=1).failures[0].failure
    assert failure.headline == "deadlock: no task can go on (waiter)"


def test_wake_up_wakes_the_oldest_exclusive_waiter_and_all_others(run) -> None:
    def program() -> None:
        queue = WaitQueue("queue")

        def wait(exclusive: bool) -> None:
            queue.prepare_to_wait(exclusive=exclusive)
            schedule()

        tasks = [spawn(wait, exclusive) for exclusive in (True, True, False, False)]
        while len(queue._entries) < 4:
            schedule_timeout(1)
        entries = list(queue._entries)
        check([exclusive for _, exclusive in entries] == [False, False, True, True], "exclusive ones behind")
        check(queue.wake_up() == 3, "one of the exclusive ones sleeps on")
        check(queue._entries == entries[3:], "the one that came last")
        queue.wake_up_all()
        join(*tasks)

    assert run(program) is None


def test_wake_up_nr_wakes_so_many_exclusive_waiters(run) -> None:
    def program(nr: int) -> None:
        queue = WaitQueue("queue")
        tasks = [spawn(lambda: (queue.prepare_to_wait(exclusive=True), schedule())) for _ in range(3)]
        while len(queue._entries) < 3:
            schedule_timeout(1)
        check(queue.wake_up(nr) == nr, "as many as asked for")
        check(len(queue._entries) == 3 - nr, "the others sleep on")
        queue.wake_up_all()
        join(*tasks)

    for nr in (1, 2, 3):
        assert run(lambda nr=nr: program(nr)) is None


def test_wait_event_timeout_gives_what_is_left_or_0() -> None:
    def program(log: list[Any]) -> None:
        queue, cell = WaitQueue("queue"), Cell()

        def wake() -> None:
            cell.once = 1
            queue.wake_up()

        waker = spawn(wake)
        left = queue.wait_event_timeout(lambda: cell.once, 10)
        log.append((left, cell.once, jiffies()))
        join(waker)

    seen = {entry for (entry,) in outcomes(program)}
    assert {(10, 1, 0), (0, 0, 10), (0, 1, 10), (1, 1, 10)} == seen


def test_nobody_comes_and_the_time_is_up(run) -> None:
    def program() -> None:
        queue = WaitQueue("queue")
        check(queue.wait_event_timeout(lambda: False, 5) == 0, "time is up")
        check(jiffies() >= 5, "so late it is")
        check(not queue._entries, "off the queue")

    assert run(program) is None


def test_schedule_returns_at_once_for_a_running_task(run) -> None:
    def program() -> None:
        schedule()
        set_current_state(TASK_UNINTERRUPTIBLE)
        set_current_state(TASK_RUNNING)
        schedule()

    assert run(program) is None


def test_wake_up_process(run) -> None:
    """The kthread's loop: state first, then the look, then the sleep."""

    def program() -> None:
        cell = Cell()

        def thread() -> None:
            set_current_state(TASK_UNINTERRUPTIBLE)
            while not cell.once:
                schedule()
                set_current_state(TASK_UNINTERRUPTIBLE)
            set_current_state(TASK_RUNNING)

        task = spawn(thread)
        cell.once = 1
        wake_up_process(task)
        join(task)

    assert run(program) is None
    every_schedule(program)


def test_the_state_set_after_the_look_loses_the_wake_up() -> None:
    def program() -> None:
        cell = Cell()

        def thread() -> None:
            while not cell.once:
                set_current_state(TASK_UNINTERRUPTIBLE)
                schedule()

        task = spawn(thread, name="thread")
        cell.once = 1
        wake_up_process(task)

    failure = first_failure(program)
    assert failure.kind is Kind.DEADLOCK
    assert "thread waits in schedule(thread)" in failure.detail


def test_blocking_in_the_condition_is_a_report(run) -> None:
    def program() -> None:
        queue, mutex = WaitQueue("queue"), Mutex("mutex")

        def condition() -> bool:
            with mutex:
                return bool(queue._entries)

        queue.wait_event(condition)

    failure = run(program)
    assert failure.headline.startswith("WARNING: do not call blocking ops when !TASK_RUNNING, at ")
    assert failure.detail.splitlines()[0] == "main is about to sleep on the queue queue"
    assert run(program, Settings(without=frozenset({"atomic-sleep"}))) is None


def test_a_task_is_on_one_queue_at_a_time() -> None:
    def program() -> None:
        WaitQueue("one").prepare_to_wait()
        WaitQueue("two").prepare_to_wait()

    with pytest.raises(ConcurrencyError, match="main is on the queue 'one': a task waits on one queue at a"):
        explore(program)


def test_a_task_on_a_queue_is_woken_through_it() -> None:
    def program() -> None:
        WaitQueue("one").prepare_to_wait()
        wake_up_process(current_task())

    with pytest.raises(ConcurrencyError, match="main waits on a queue: wake it with wake_up"):
        explore(program)


def test_active_says_whether_anybody_is_on_the_queue() -> None:
    queue = WaitQueue("queue")
    assert not queue.active()
    queue.prepare_to_wait()
    assert queue.active()
    assert repr(queue) == "<WaitQueue queue: outside>"
    queue.finish_wait()
    assert repr(queue) == "<WaitQueue queue: empty>"


def test_wake_ups_publish_what_was_written_before_them() -> None:
    def program(publish: bool) -> None:
        queue, cell = WaitQueue("queue"), Cell()

        def wait() -> None:
            queue.prepare_to_wait()
            if not cell.once:
                schedule()
            queue.finish_wait()
            if publish:
                check(cell.plain == 1, "written before the wake-up")

        waiter = spawn(wait)
        if not publish:
            cell.once = 1
            queue.wake_up()
            cell.plain = 1
        else:
            cell.plain = 1
            cell.once = 1
            queue.wake_up()
        join(waiter)

    clean(lambda: program(False))


def test_a_sleep_may_end_for_no_reason_if_asked_for() -> None:
    def program(loops: bool) -> None:
        queue, cell = WaitQueue("queue"), Cell()

        def wait() -> None:
            queue.prepare_to_wait()
            while not cell.once:
                schedule()
                if not loops:
                    break
                queue.prepare_to_wait()
            queue.finish_wait()
            check(cell.once == 1, "woken for a reason")

        waiter = spawn(wait)
        cell.once = 1
        queue.wake_up()
        join(waiter)

    spurious = Settings(spurious=1)
    every_schedule(lambda: program(False))
    assert first_failure(lambda: program(False), spurious, strategy="dfs").kind is Kind.CHECK
    assert first_failure(lambda: program(False), spurious, strategy="dpor").kind is Kind.CHECK
    every_schedule(lambda: program(True), spurious)
