"""Circles of waits: each arrow of one is true, nobody is named twice, and every circle that there is is found.

The judge knows nothing of `awaited`. It takes the state in which an execution ended and lets tasks vanish, with all
that they hold and wait for: X waits for Y if X still cannot go on when everybody but Y has vanished.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from sugarbush.concurrency import (
    Completion,
    Failure,
    Kind,
    Mutex,
    RwLock,
    RwSemaphore,
    Semaphore,
    Settings,
    Spinlock,
    SrcuStruct,
    Timer,
    cpu_relax,
    del_timer_sync,
    explore,
    join,
    mod_timer,
    spawn,
)
from sugarbush.concurrency.core.task import Task
from sugarbush.concurrency.rcu import (
    call_srcu,
    rcu_read_lock,
    rcu_read_unlock,
    srcu_barrier,
    srcu_read_lock,
    srcu_reader,
    synchronize_rcu,
    synchronize_srcu,
)
from sugarbush.concurrency.rcu.domain import GracePeriods
from sugarbush.concurrency.runtimes.simulated import Simulated
from sugarbush.concurrency.strategies.random_walk import RandomWalk

BARE = Settings(without=frozenset({"lockdep", "rcu", "atomic-sleep", "data-race", "leak", "rcu-stall"}))
CIRCLE = re.compile(r"deadlock: a circle of waits \((.*)\)")


# -- the judge ------------------------------------------------------------------------------------------------------


def can_go_on_beside(task: Task, others: Iterable[Task]) -> bool:
    """Whether `task` could go on if there were nobody but `others`, who stay as they are."""
    stays = set(others)
    obj: Any = task.obj
    assert task.op is not None
    if isinstance(obj, Task):
        return obj not in stays
    if isinstance(obj, Mutex | Spinlock):
        return obj._owner not in stays
    if isinstance(obj, RwLock):
        reads = task.op.name == "read_lock"
        return obj._writer not in stays and (reads or not stays.intersection(obj._readers))
    if isinstance(obj, RwSemaphore):
        before: list[bool] = []
        for waiter, writes in obj._queue:
            if waiter is task:
                if not writes:
                    return obj._writer not in stays and not any(before)
                return obj._writer not in stays and not stays.intersection(obj._readers) and not before
            if waiter in stays:
                before.append(writes)
        raise AssertionError("a task that waits stands in the queue")
    if isinstance(obj, SrcuStruct):
        number = obj.waiting[task]
        return not any(obj.open[reader] in stays for reader, first in obj.holdouts.items() if first <= number)
    assert isinstance(obj, Semaphore)
    return True  # Anybody may come and leave it.


def blocked(runtime: Simulated) -> list[Task]:
    alive = [task for task in runtime.tasks if not task.done]
    return [
        task
        for task in alive
        if task.op is not None and task.op.ready is not None and not task.op.ready(task.obj, task)
    ]


def shortest(runtime: Simulated, closing: Task) -> int:
    """How many tasks the shortest circle through `closing` has; 0 if there is none."""
    waiting = blocked(runtime)
    arrows = {one: [two for two in waiting if not can_go_on_beside(one, [two])] for one in waiting}
    reached, length = {closing}, 0
    while reached:
        length += 1
        following = {two for one in reached for two in arrows[one]}
        if closing in following:
            return length
        if length > len(waiting):
            return 0
        reached = following
    return 0


def judge(runtime: Simulated, failure: Failure | None) -> bool:
    """Checks how an execution ended; gives whether it was in a circle."""
    if failure is None or failure.kind is not Kind.DEADLOCK:
        return False
    told = CIRCLE.fullmatch(failure.headline)
    by_name = {task.name: task for task in runtime.tasks}
    assert len(by_name) == len(runtime.tasks), "every task has a name of its own"
    if told is None:
        assert not any(shortest(runtime, task) for task in blocked(runtime)), "a circle is called one"
        return False
    names = told.group(1).split(" -> ")
    parties = [by_name[name] for name in names[:-1]]
    assert names[0] == names[-1]
    assert len(set(parties)) == len(parties), "nobody is named twice"
    waiting = blocked(runtime)
    for one, two in pairwise([*parties, parties[0]]):
        assert one in waiting
        assert not can_go_on_beside(one, [two]), f"{one.name} waits for {two.name}"
        paragraph = re.search(rf"^{re.escape(one.name)} waits in (.*)$", failure.detail, re.MULTILINE)
        assert paragraph is not None
        assert two.name in re.split(r"[ ,()]+", paragraph.group(1)), "a party says for whom it waits"
        for word, names_of in re.findall(
            r"(held by|queued behind) ((?:t\d|main)(?:, (?:t\d|main))*)", paragraph.group(1)
        ):
            for name in names_of.split(", "):
                assert not can_go_on_beside(one, [by_name[name]]), f"{one.name}: {word} {name}"
    assert shortest(runtime, by_name[failure.task]) == len(parties), "no way round is shorter"
    return True


# -- random programs ------------------------------------------------------------------------------------------------


def random_program(random: Random) -> Callable[[], None]:
    """A few tasks that take and never give back, or give back what they took last, or wait for each other."""
    count = random.randint(2, 4)
    plans: list[list[tuple[str, int]]] = []
    for number in range(count):
        plan = []
        for _ in range(random.randint(2, 4)):
            what = random.choice(
                ["mutex", "read", "read", "write", "write", "rread", "rwrite", "srcu", "sync", "down", "undo"]
            )
            plan.append((what, random.randrange(2)))
        if number and random.random() < 0.3:
            plan.append(("join", random.randrange(number)))
        plans.append(plan)

    def program() -> None:
        mutexes = [Mutex(f"m{n}") for n in range(2)]
        sems = [RwSemaphore(f"s{n}") for n in range(2)]
        rwlocks = [RwLock(f"r{n}") for n in range(2)]
        srcus = [SrcuStruct(f"g{n}") for n in range(2)]
        counted = [Semaphore(1, f"c{n}") for n in range(2)]
        tasks: list[Task] = []
        takes: dict[str, tuple[Callable[[int], Any], Callable[[int], Any]]] = {
            "mutex": (lambda n: mutexes[n].lock(), lambda n: mutexes[n].unlock()),
            "read": (lambda n: sems[n].down_read(), lambda n: sems[n].up_read()),
            "write": (lambda n: sems[n].down_write(), lambda n: sems[n].up_write()),
            "rread": (lambda n: rwlocks[n].read_lock(), lambda n: rwlocks[n].read_unlock()),
            "rwrite": (lambda n: rwlocks[n].write_lock(), lambda n: rwlocks[n].write_unlock()),
            "down": (lambda n: counted[n].down(), lambda n: counted[n].up()),
        }

        def work(plan: list[tuple[str, int]]) -> None:
            taken: list[tuple[str, int]] = []
            for what, which in plan:
                if what == "join":
                    join(tasks[which])
                elif what == "srcu":
                    srcu_read_lock(srcus[which])
                elif what == "sync":
                    synchronize_srcu(srcus[which])
                elif what == "undo":
                    if taken:
                        done, where = taken.pop()
                        takes[done][1](where)
                else:
                    takes[what][0](which)
                    taken.append((what, which))
            for done, where in reversed(taken):
                takes[done][1](where)

        for number, plan in enumerate(plans):
            tasks.append(spawn(work, plan, name=f"t{number}"))
        join(*tasks)

    return program


def run_judged(programs: int, executions: int = 3) -> int:
    """Judges executions of random programs; gives how many ended in a circle."""
    random = Random(7)
    circles = 0
    for seed in range(programs):
        program = random_program(random)
        runtime = BARE.runtime(RandomWalk(seed))
        for _ in range(executions):
            circles += judge(runtime, runtime.run(program).failure)
    return circles


def test_every_arrow_of_a_circle_is_true() -> None:
    assert run_judged(200) > 50


@pytest.mark.exhaustive
def test_every_arrow_of_many_circles_is_true() -> None:
    assert run_judged(20_000) > 5_000


def _only_holders(sem: RwSemaphore, task: Task) -> dict[Task, str]:
    return dict.fromkeys(sem.holders, "held by {}")


def _one_writer_before(sem: RwSemaphore, task: Task) -> dict[Task, str]:
    """As it was once: readers are said to wait for readers."""
    waiters = [waiter for waiter, _ in sem._queue]
    before = [waiter for waiter, writes in sem._queue[: waiters.index(task)] if writes][:1]
    return {**dict.fromkeys(sem.holders, "held by {}"), **dict.fromkeys(before, "queued behind {}")}


def _every_waiter(sem: RwSemaphore, task: Task) -> dict[Task, str]:
    return {waiter: "queued behind {}" for waiter, _ in sem._queue if waiter is not task}


def _every_reader(rcu: GracePeriods[Any], task: Task) -> dict[Task, str]:
    return {rcu.task_of(reader): "held by {}" for reader in rcu.holdouts}


def _nobody(obj: object, task: Task) -> dict[Task, str]:
    return {}


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (RwSemaphore, _only_holders),
        (RwSemaphore, _one_writer_before),
        (RwSemaphore, _every_waiter),
        (RwSemaphore, _nobody),
        (RwLock, _nobody),
        (Mutex, _nobody),
        (SrcuStruct, _nobody),
    ],
    ids=lambda value: value.__name__,
)
def test_the_judge_sees_who_is_left_out_or_named_wrongly(
    monkeypatch: pytest.MonkeyPatch, kind: type, wrong: Callable[..., Any]
) -> None:
    monkeypatch.setattr(kind, "awaited", wrong)
    with pytest.raises(AssertionError):
        run_judged(200)


# -- what a user reads ----------------------------------------------------------------------------------------------


def failure_of(program: Callable[[], Any], **how: Any) -> Failure:
    result = explore(program, strategy="random", executions=300, settings=BARE, **how)
    assert result.failures
    return result.failures[0].failure


def lines_of(failure: Failure) -> list[str]:
    """The sentences of a deadlock, without the places."""
    return [line for line in failure.detail.splitlines() if not line.startswith("  at ")]


def test_the_writer_between_two_readers_is_named() -> None:
    def program() -> None:
        sem = RwSemaphore("sem")

        def reconcile() -> None:
            sem.down_read()
            sem.down_read()

        def change() -> None:
            sem.down_write()
            sem.up_write()

        join(spawn(reconcile), spawn(change))

    failure = failure_of(program)
    assert failure.headline == "deadlock: a circle of waits (reconcile -> change -> reconcile)"
    assert lines_of(failure) == [
        "reconcile waits in down_read_slowpath(sem), queued behind change",
        "  holds sem",
        "change waits in down_write_slowpath(sem), held by reconcile",
    ]


def test_tasks_of_one_function_are_told_apart() -> None:
    def program() -> None:
        a, b = Mutex("a"), Mutex("b")

        def deposit(first: Mutex, second: Mutex) -> None:
            with first, second:
                pass

        join(spawn(deposit, a, b), spawn(deposit, b, a))

    failure = failure_of(program)
    assert failure.headline == "deadlock: a circle of waits (deposit -> deposit#2 -> deposit)"
    assert lines_of(failure)[0] == "deposit waits in mutex_lock(b), held by deposit#2"


def test_a_grace_period_waits_for_a_reader_that_waits_for_the_updater() -> None:
    def program() -> None:
        srcu, mutex = SrcuStruct("domain"), Mutex("mutex")

        def reader() -> None:
            with srcu_reader(srcu), mutex:
                pass

        def updater() -> None:
            with mutex:
                synchronize_srcu(srcu)

        join(spawn(reader), spawn(updater))

    failure = failure_of(program)
    assert failure.headline == "deadlock: a circle of waits (reader -> updater -> reader)"
    assert "updater waits in synchronize_srcu_wait(domain), held by reader" in failure.detail
    assert "  reader: SRCU reader of domain, index 1000" in failure.detail


def a_reader_that_began_later() -> None:
    """`late` begins when the grace period of `early` has begun, and waits for it; only `first` is in the way."""
    srcu, mutex, reads = SrcuStruct("domain"), Mutex("mutex"), Completion("reads")

    def first() -> None:
        with srcu_reader(srcu):
            reads.complete()
            while srcu.begun < 1:
                cpu_relax()

    def early() -> None:
        with mutex:
            reads.wait()
            synchronize_srcu(srcu)

    def late() -> None:
        while srcu.begun < 1:
            cpu_relax()
        with srcu_reader(srcu):
            spawn(synchronize_srcu, srcu)
            while srcu.begun < 2:
                cpu_relax()
            with mutex:
                pass

    join(spawn(early), spawn(first), spawn(late))


def test_a_reader_that_began_later_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result = explore(a_reader_that_began_later, strategy="random", executions=100, settings=BARE)
    assert not result.failures
    monkeypatch.setattr(SrcuStruct, "awaited", _every_reader)
    assert failure_of(a_reader_that_began_later).kind is Kind.DEADLOCK


def test_a_barrier_waits_for_callbacks_that_wait_for_a_reader() -> None:
    def program() -> None:
        srcu, mutex = SrcuStruct("domain"), Mutex("mutex")

        def reader() -> None:
            with srcu_reader(srcu), mutex:
                pass

        def unload() -> None:
            with mutex:
                call_srcu(srcu, lambda _: None, None)
                srcu_barrier(srcu)

        join(spawn(reader), spawn(unload))

    failure = failure_of(program)
    assert failure.kind is Kind.DEADLOCK
    assert "unload waits in srcu_barrier_wait(domain), for callbacks that domain has to run" in failure.detail
    assert "domain waits in srcu_callback(domain), held by reader" in failure.detail
    assert "reader waits in mutex_lock(mutex), held by unload" in failure.detail


def test_a_timer_is_deleted_under_a_lock_that_its_function_takes() -> None:
    def program() -> None:
        lock = Spinlock("lock")

        def tick(_timer: Timer) -> None:
            with lock:
                pass

        timer = Timer(tick, "timer")
        mod_timer(timer, 1)
        with lock:
            del_timer_sync(timer)

    failure = failure_of(program)
    assert failure.headline == "deadlock: a circle of waits (main -> clock -> main)"
    assert (
        "main waits in del_timer_sync(clock), held by clock, which calls the timer's function"
        in failure.detail
    )


def test_a_reader_of_rcu_that_joins_who_waits_for_it() -> None:
    def program() -> None:
        def updater() -> None:
            synchronize_rcu()

        rcu_read_lock()
        join(spawn(updater))
        rcu_read_unlock()

    failure = failure_of(program)
    assert failure.headline == "deadlock: a circle of waits (main -> updater -> main)"
    assert "main waits in join(updater)" in failure.detail


def test_who_is_not_waited_for_for_good_closes_no_circle() -> None:
    """Anybody may leave a semaphore, so nobody's turn is told of it: it is a deadlock, and no circle."""

    def program() -> None:
        semaphore = Semaphore(1, "semaphore")
        semaphore.down()
        semaphore.down()

    failure = failure_of(program)
    assert failure.headline == "deadlock: no task can go on (main)"
    assert "nobody is left who could wake it" in failure.detail


def test_threads_tell_the_same() -> None:
    def program() -> None:
        sem = RwSemaphore("sem")
        sem.down_read()

        def change() -> None:
            sem.down_write()

        spawn(change)
        while not sem._queue:
            Mutex("pause").is_locked()
        sem.down_read()

    failure = failure_of(program, runtime="threaded")
    assert failure.headline == "deadlock: a circle of waits (main -> change -> main)"
