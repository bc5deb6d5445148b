"""What RCU, timers, completions and flags order, and what they do not: each program has a race, or has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sugarbush.concurrency import (
    Atomic,
    Completion,
    Flag,
    Kind,
    Once,
    Plain,
    RwSemaphore,
    Semaphore,
    Settings,
    Shared,
    Spinlock,
    SrcuStruct,
    Timer,
    Verdict,
    atomic_add_unless,
    call_rcu,
    call_rcu_tasks,
    call_srcu,
    cond_synchronize_rcu,
    cpu_relax,
    del_timer,
    del_timer_sync,
    explore,
    get_state_synchronize_rcu,
    join,
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    mod_timer,
    poll_state_synchronize_rcu,
    preempt_disable,
    preempt_enable,
    rcu_barrier,
    rcu_read_lock,
    rcu_read_unlock,
    schedule,
    set_current_state,
    smp_mb,
    smp_rmb,
    smp_store_release,
    spawn,
    srcu_reader,
    start_poll_synchronize_rcu,
    synchronize_rcu,
    wake_up_process,
)
from sugarbush.concurrency.waits.wait import TASK_RUNNING, TASK_UNINTERRUPTIBLE

BOTH = pytest.mark.parametrize("memory", ["sc", "weak"])


class Cell(Shared):
    d: Plain[int] = 0
    f: Once[int] = 0
    g: Once[int] = 0
    n: Atomic[int] = 0


def races(program: Callable[[], Any], memory: str = "sc", strategy: str = "dfs") -> bool:
    """Some execution has a race; else every one passes."""
    result = explore(program, strategy=strategy, settings=Settings(memory=memory))
    if result.failures:
        assert result.failures[0].failure.kind is Kind.DATA_RACE, result.failures[0].failure.headline
        return True
    assert result.verdict is Verdict.PASSED
    return False


def two(one: Callable[[Cell], Any], other: Callable[[Cell], Any]) -> Callable[[], None]:
    def program() -> None:
        cell = Cell()
        join(spawn(one, cell), spawn(other, cell))

    return program


def nothing(_: object) -> None:
    pass


GRACE: dict[str, Callable[[Any], Any]] = {
    "call_rcu": lambda _: call_rcu(nothing, None),
    "start_poll": lambda _: start_poll_synchronize_rcu(),
    "call_srcu": lambda ssp: call_srcu(ssp, nothing, None),
    "call_rcu_tasks": lambda _: call_rcu_tasks(nothing, None),
}
AROUND: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "nothing": (lambda: None, lambda: None),
    "rcu": (rcu_read_lock, rcu_read_unlock),
    "preempt": (preempt_disable, preempt_enable),
    "irq": (local_irq_disable, local_irq_enable),
    "bh": (local_bh_disable, local_bh_enable),
}


@BOTH
@pytest.mark.parametrize("around", [*AROUND, "spinlock", "srcu"])
@pytest.mark.parametrize("grace", GRACE)
def test_a_reader_that_begins_during_a_grace_period_need_not_know_what_came_before(
    grace: str, around: str, memory: str
) -> None:
    """Nothing says that it outlasts the grace period; a lock that nobody else takes says nothing, either."""

    def program() -> None:
        cell, ssp = Cell(), SrcuStruct()

        def update() -> None:
            cell.d = 1
            GRACE[grace](ssp)
            cell.f = 1

        def read() -> None:
            if not cell.f:
                return
            if around in AROUND:
                begin, end = AROUND[around]
                begin()
                cell.d  # noqa: B018
                end()
            else:
                with Spinlock("private") if around == "spinlock" else srcu_reader(ssp):
                    cell.d  # noqa: B018

        join(spawn(update), spawn(read))

    assert races(program, memory, "dpor")


@BOTH
@pytest.mark.parametrize("around", list(AROUND)[1:])
def test_one_that_outlasts_it_knows(around: str, memory: str) -> None:
    begin, end = AROUND[around]

    def update(cell: Cell, wait: Callable[[], Any]) -> None:
        cell.d = 1
        wait()
        cell.f = 1

    def read(cell: Cell) -> None:
        begin()
        if cell.f:
            cell.d  # noqa: B018
        end()

    def polls() -> None:
        cookie = start_poll_synchronize_rcu()
        while not poll_state_synchronize_rcu(cookie):
            cpu_relax()

    def conditionally() -> None:
        cond_synchronize_rcu(get_state_synchronize_rcu())

    for wait in (synchronize_rcu, polls, conditionally):
        assert not races(two(lambda cell, wait=wait: update(cell, wait), read), memory, "dpor")
    assert races(two(lambda cell: update(cell, start_poll_synchronize_rcu), read), memory, "dpor")


def test_who_outlasts_a_grace_period_has_known_all_along() -> None:
    """The access comes before anybody can say so: the reader waits inside until the grace period is over."""

    def update(cell: Cell) -> None:
        cell.d = 1
        cookie = start_poll_synchronize_rcu()
        cell.f = 1
        while not poll_state_synchronize_rcu(cookie):
            cpu_relax()
        cell.g = 1

    def read(cell: Cell, stays: bool) -> None:
        if cell.f:
            rcu_read_lock()
            cell.d  # noqa: B018
            while stays and not cell.g:
                cpu_relax()
            rcu_read_unlock()

    assert not races(two(update, lambda cell: read(cell, True)), strategy="dpor")
    assert races(two(update, lambda cell: read(cell, False)), strategy="dpor")


@BOTH
def test_stretches_that_overlap_are_one_reader(memory: str) -> None:
    """The inner one begins during the grace period, but the reader began before it."""

    def update(cell: Cell) -> None:
        if cell.g:
            cell.d = 1
            start_poll_synchronize_rcu()
            cell.f = 1

    def read(cell: Cell) -> None:
        rcu_read_lock()
        cell.g = 1
        if cell.f:
            preempt_disable()
            cell.d  # noqa: B018
            preempt_enable()
        rcu_read_unlock()

    assert races(two(update, read), memory, "dpor")


@BOTH
def test_a_grace_period_waits_for_who_began_before_and_not_for_others(memory: str) -> None:
    def read(cell: Cell) -> None:
        rcu_read_lock()
        cell.f = 1
        cell.d  # noqa: B018
        rcu_read_unlock()
        cell.g = 1

    def update(cell: Cell) -> None:
        if cell.f:
            synchronize_rcu()
            cell.d = 1

    def late(cell: Cell) -> None:
        cookie = start_poll_synchronize_rcu()
        if cell.g and poll_state_synchronize_rcu(cookie):
            cell.d = 1

    assert not races(two(update, read), memory, "dpor")
    assert races(two(late, read), memory, "dpor")


@BOTH
def test_a_callback_knows_what_came_before_its_own_call(memory: str) -> None:
    def own(cell: Cell) -> None:
        cell.d = 1
        call_rcu(lambda _: cell.d, None)
        rcu_barrier()
        cell.d = 2

    def calls(cell: Cell) -> None:
        call_rcu(lambda _: cell.f and cell.d, None)

    def other(cell: Cell) -> None:
        cell.d = 1
        call_rcu(nothing, None)
        cell.f = 1

    assert not races(two(own, nothing), memory, "dpor")
    assert races(two(calls, other), memory, "dpor")


TIMER: dict[str, tuple[Callable[[Timer], object], bool]] = {
    "del_timer": (del_timer, False),
    "del_timer_sync": (del_timer_sync, False),
    "mod_timer, to another time": (lambda timer: mod_timer(timer, 200), False),
    "mod_timer, to the same time": (lambda timer: mod_timer(timer, 100), True),
    "del_timer in vain": (lambda timer: not del_timer(timer), True),
}


@BOTH
@pytest.mark.parametrize("how", TIMER)
def test_the_lock_of_the_timer_base_orders_who_found_the_timer_pending(how: str, memory: str) -> None:
    """Kernel: __mod_timer() takes none if the timer is pending for that very time, del_timer() if it is not pending."""
    act, expected = TIMER[how]

    def program() -> None:
        cell, timer = Cell(), Timer(nothing)

        def arm() -> None:
            cell.d = 1
            mod_timer(timer, 100)

        def other() -> None:
            if act(timer):
                cell.d  # noqa: B018

        join(spawn(arm), spawn(other))

    assert races(program, memory, "dpor") is expected


@BOTH
def test_a_timer_knows_who_set_it_and_its_function_comes_before_del_timer_sync(memory: str) -> None:
    def program() -> None:
        cell = Cell()
        timer = Timer(lambda _: setattr(cell, "d", 2))
        cell.d = 1
        mod_timer(timer, 100)
        del_timer_sync(timer)
        cell.d = 3

    assert not races(program, memory, "dpor")


def test_a_timer_does_not_know_who_set_another_one() -> None:
    def program() -> None:
        cell = Cell()
        one, other = Timer(nothing, "one"), Timer(lambda _: cell.d, "other")

        def first() -> None:
            cell.d = 1
            mod_timer(one, 100)
            cell.f = 1

        def second() -> None:
            if cell.f:
                mod_timer(other, 50)

        join(spawn(first), spawn(second))

    assert races(program, strategy="dpor")


LOOKS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "try_wait": (Completion, lambda c: c.complete(), lambda c: c.try_wait()),
    "is_done": (Completion, lambda c: c.complete(), lambda c: c.is_done()),
    "wait_timeout": (Completion, lambda c: c.complete(), lambda c: c.wait_timeout(1)),
    "is_set": (Flag, lambda f: f.set(), lambda f: f.is_set()),
    "wait for a flag": (Flag, lambda f: f.set(), lambda f: f.wait(0.001)),
    "down_trylock": (lambda: Semaphore(0), lambda s: s.up(), lambda s: s.down_trylock()),
    "down_timeout": (lambda: Semaphore(0), lambda s: s.up(), lambda s: s.down_timeout(1)),
}


@BOTH
@pytest.mark.parametrize("how", LOOKS)
def test_to_find_something_orders(how: str, memory: str) -> None:
    make, tell, look = LOOKS[how]

    def program() -> None:
        cell, thing = Cell(), make()

        def one() -> None:
            cell.d = 1
            tell(thing)

        def other() -> None:
            if look(thing):
                cell.d  # noqa: B018

        join(spawn(one), spawn(other))

    assert not races(program, memory, "dpor")


TAKEN_AWAY: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "try_wait": (Completion, lambda c: (c.complete(), c.wait()), lambda c: c.try_wait()),
    "is_done": (Completion, lambda c: (c.complete(), c.wait()), lambda c: c.is_done()),
    "wait_timeout": (Completion, lambda c: (c.complete(), c.wait()), lambda c: c.wait_timeout(1)),
    "is_set": (Flag, lambda f: (f.set(), f.clear()), lambda f: f.is_set()),
    "down_trylock": (lambda: Semaphore(0), lambda s: (s.up(), s.down()), lambda s: s.down_trylock()),
    "down_timeout": (lambda: Semaphore(0), lambda s: (s.up(), s.down()), lambda s: s.down_timeout(1)),
    "spin_trylock": (
        lambda: Spinlock("s"),
        lambda s: (s.lock(), s.unlock(), s.lock()),
        lambda s: s.trylock(),
    ),
    "down_read_trylock": (
        lambda: RwSemaphore("s"),
        lambda s: (s.down_write(), s.up_write(), s.down_write()),
        lambda s: s.down_read_trylock(),
    ),
}


@pytest.mark.parametrize("how", TAKEN_AWAY)
def test_to_look_in_vain_orders_nothing(how: str) -> None:
    """Somebody has told, and taken it back; a flag without order says so. Nobody who looks finds anything."""
    make, tell, look = TAKEN_AWAY[how]

    def program() -> None:
        cell, thing = Cell(), make()

        def one() -> None:
            cell.d = 1
            tell(thing)
            cell.f = 1
            if hasattr(thing, "up_write"):
                thing.up_write()
            elif hasattr(thing, "unlock"):
                thing.unlock()

        def other() -> None:
            if not cell.f:
                return
            if not look(thing):
                cell.d  # noqa: B018
            elif hasattr(thing, "up_read"):
                thing.up_read()
            elif hasattr(thing, "unlock"):
                thing.unlock()

        join(spawn(one), spawn(other))

    assert races(program, strategy="dpor")


def test_an_atomic_whose_condition_does_not_hold_orders_nothing() -> None:
    """Kernel: Documentation/atomic_t.txt: those that are conditional are unordered on failure."""

    def tell(cell: Cell) -> None:
        cell.d = 1
        atomic_add_unless(cell, "n", 1, 5)

    def look(unless: int) -> Callable[[Cell], None]:
        def body(cell: Cell) -> None:
            if cell.n == 1:
                atomic_add_unless(cell, "n", 1, unless)
                cell.d  # noqa: B018

        return body

    assert races(two(tell, look(1)), strategy="dpor")
    assert not races(two(tell, look(7)), strategy="dpor")


@BOTH
@pytest.mark.parametrize("barrier", [smp_mb, smp_rmb])
def test_a_marked_read_and_a_barrier_take_over_a_release(barrier: Callable[[], None], memory: str) -> None:
    def tell(cell: Cell) -> None:
        cell.d = 1
        smp_store_release(cell, "f", 1)

    def look(cell: Cell) -> None:
        if cell.f:
            barrier()
            cell.d  # noqa: B018

    assert not races(two(tell, look), memory, "dpor")


@BOTH
def test_a_wake_up_that_comes_too_early_is_not_lost(memory: str) -> None:
    """set_current_state() and wake_up_process() are full barriers: the sleeper sees the condition, or is woken."""

    def program() -> None:
        cell = Cell()

        def sleeper() -> None:
            set_current_state(TASK_UNINTERRUPTIBLE)
            if not cell.f:
                schedule()
            set_current_state(TASK_RUNNING)

        task = spawn(sleeper)
        cell.f = 1
        wake_up_process(task)
        join(task)

    assert not races(program, memory, "dpor")
