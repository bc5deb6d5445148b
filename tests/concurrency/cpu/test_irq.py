"""Interrupts and bottom halves: the state, the spinlock's irq and bh forms, and what the validator makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from concurrency_programs import BARE, Cell, first_failure

from sugarbush.concurrency import (
    ConcurrencyError,
    Kind,
    Mutex,
    Settings,
    Spinlock,
    check,
    explore,
    hardirq,
    irqs_disabled,
    join,
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    local_irq_restore,
    local_irq_save,
    might_sleep,
    softirq,
    spawn,
)

UNSAFE = "HARDIRQ-safe -> HARDIRQ-unsafe lock order detected"


def test_save_and_restore_nest(run) -> None:
    def program() -> None:
        outer = local_irq_save()
        inner = local_irq_save()
        check(outer and not inner, "the flags say what was")
        local_irq_restore(inner)
        check(irqs_disabled(), "still off")
        local_irq_restore(outer)
        check(not irqs_disabled(), "on again")
        local_bh_disable()
        local_bh_disable()
        local_bh_enable()
        local_bh_enable()
        might_sleep()

    assert run(program) is None


def test_each_task_has_its_own_interrupts(run) -> None:
    def program() -> None:
        local_irq_disable()
        other = spawn(irqs_disabled)
        local_irq_enable()
        check(not join(other)[0], "nobody else's")

    assert run(program) is None


def test_the_irq_forms_exclude_and_keep_the_state(run) -> None:
    def program() -> None:
        lock, cell = Spinlock("lock"), Cell()

        def irq() -> None:
            with lock.irq():
                check(irqs_disabled(), "off inside")
                cell.plain += 1

        def irqsave() -> None:
            flags = lock.lock_irqsave()
            cell.plain += 1
            lock.unlock_irqrestore(flags)

        def bh() -> None:
            with lock.bh():
                check(not irqs_disabled(), "only bottom halves are off")
                cell.plain += 1

        join(*[spawn(fn) for fn in (irq, irqsave, bh)])
        check(cell.plain == 3, "no update is lost")

    assert run(program) is None


def test_irqsave_inside_irq_leaves_interrupts_off(run) -> None:
    def program() -> None:
        outer, inner = Spinlock("outer"), Spinlock("inner")
        outer.lock_irq()
        flags = inner.lock_irqsave()
        inner.unlock_irqrestore(flags)
        check(irqs_disabled(), "as they were")
        outer.unlock_irq()

    assert run(program) is None


def _irqs_off() -> None:
    local_irq_disable()


def _in_irq_lock() -> None:
    Spinlock("s").lock_irq()


def _in_bh_lock() -> None:
    Spinlock("s").lock_bh()


@pytest.mark.parametrize("enter", [_irqs_off, local_bh_disable, _in_irq_lock, _in_bh_lock])
@pytest.mark.parametrize("settings", [Settings(), BARE], ids=["all checks", "bare"])
def test_sleeping_is_a_report(enter: Callable[[], None], settings: Settings, run) -> None:
    def program() -> None:
        enter()
        Mutex("m").lock()

    failure = run(program, settings)
    assert failure is not None
    assert failure.headline.startswith("BUG: sleeping function called from invalid context at ")
    assert f"irqs_disabled(): {int(enter in (_irqs_off, _in_irq_lock))}" in failure.detail


@pytest.mark.parametrize("handler", [hardirq, softirq])
def test_sleeping_in_a_handler_is_a_report(handler, run) -> None:
    def program() -> None:
        with handler():
            might_sleep()

    assert run(program).headline.startswith("BUG: sleeping function called from invalid context")


def _nested_irq_locks() -> None:
    outer, inner = Spinlock("outer"), Spinlock("inner")
    with outer.irq(), inner.irq():
        pass


def _bh_with_irqs_off() -> None:
    local_bh_disable()
    local_irq_disable()
    local_bh_enable()


UNBALANCED = [
    (local_irq_enable, "local_irq_enable() called with IRQs enabled"),
    (lambda: local_irq_restore(True), "raw_local_irq_restore() called with IRQs enabled"),
    (lambda: local_irq_restore(False), "raw_local_irq_restore() called with IRQs enabled"),
    (local_bh_enable, "local_bh_enable() without local_bh_disable()"),
    (_bh_with_irqs_off, "local_bh_enable() called with IRQs disabled"),
    (_nested_irq_locks, "local_irq_enable() called with IRQs enabled"),
]


@pytest.mark.parametrize(("program", "words"), UNBALANCED)
@pytest.mark.parametrize("settings", [Settings(), BARE], ids=["all checks", "bare"])
def test_unbalanced_enables_are_reports(
    program: Callable[[], None], words: str, settings: Settings, run
) -> None:
    failure = run(program, settings)
    assert failure is not None
    assert (failure.kind, failure.headline) == (Kind.LOCKDEP, f"WARNING: {words}")


def test_a_task_must_not_end_with_interrupts_or_bottom_halves_off(run) -> None:
    assert run(local_irq_disable).headline == "note: main[0] exited with irqs disabled"
    assert run(local_bh_disable).headline == "note: main[0] exited with preempt_count 1"
    assert run(local_irq_disable, BARE) is None


@pytest.mark.parametrize("handler", [hardirq, softirq])
def test_no_handler_comes_in_while_it_is_off(handler) -> None:
    def program() -> None:
        with Spinlock("s").irq(), handler():
            pass

    with pytest.raises(ConcurrencyError, match="interrupts"):
        explore(program, executions=1)


def take_in(handler, lock: Spinlock) -> None:
    """A handler takes the lock."""
    with handler(), lock:
        pass


def test_a_lock_taken_with_interrupts_on_and_in_a_handler_is_inconsistent(run) -> None:
    def program(safe: bool) -> None:
        lock = Spinlock("device")

        def work() -> None:
            with lock.irq() if safe else lock:
                pass

        join(spawn(take_in, hardirq, lock), spawn(work))

    assert run(lambda: program(True)) is None
    failure = run(lambda: program(False))
    assert failure is not None
    assert failure.headline == "WARNING: inconsistent lock state"
    assert "HARDIRQ" in failure.detail


def test_bottom_halves_are_a_state_of_their_own(run) -> None:
    def program(bh: bool) -> None:
        lock = Spinlock("queue")

        def work() -> None:
            with lock.bh() if bh else lock:
                pass

        join(spawn(take_in, softirq, lock), spawn(work))

    assert run(lambda: program(True)) is None
    failure = run(lambda: program(False))
    assert failure is not None
    assert failure.headline == "WARNING: inconsistent lock state"
    assert "SOFTIRQ" in failure.detail


def test_bh_is_not_enough_against_a_hardirq() -> None:
    def program() -> None:
        lock = Spinlock("device")
        with hardirq(), lock:
            pass
        with lock.bh():
            pass

    assert first_failure(program).headline == "WARNING: inconsistent lock state"


def inversion(safe: bool) -> None:
    """The handler takes `device`; a task takes `table` under `device`, another takes `table` alone."""
    device, table = Spinlock("device"), Spinlock("table")

    def under() -> None:
        flags = device.lock_irqsave()
        with table:
            pass
        device.unlock_irqrestore(flags)

    def alone() -> None:
        with table.irq() if safe else table:
            pass

    join(spawn(take_in, hardirq, device), spawn(under), spawn(alone))


def test_a_lock_order_inversion_through_a_handler_is_found(run) -> None:
    assert run(lambda: inversion(True)) is None
    failure = run(lambda: inversion(False))
    assert failure is not None
    assert failure.kind is Kind.LOCKDEP
    assert UNSAFE in failure.headline or "possible irq lock inversion dependency" in failure.headline


def test_the_inversion_in_one_order_of_events() -> None:
    def program() -> None:
        device, table = Spinlock("device"), Spinlock("table")
        take_in(hardirq, device)
        with table:
            pass
        with device.irq(), table:
            pass

    assert first_failure(program, executions=1).headline == f"WARNING: {UNSAFE}"


def test_the_handlers_locks_do_not_depend_on_what_it_interrupted(run) -> None:
    def program() -> None:
        table, device = Spinlock("table"), Spinlock("device")
        with table:
            take_in(hardirq, device)
        might_sleep()

    assert run(program) is None


def test_turning_interrupts_on_under_a_lock_makes_it_unsafe(run) -> None:
    def program() -> None:
        lock = Spinlock("device")
        take_in(hardirq, lock)
        lock.lock_irq()
        local_irq_enable()
        lock.unlock()

    assert run(program).headline == "WARNING: inconsistent lock state"


def test_every_schedule_of_two_irq_lockers_with_partial_order_reduction() -> None:
    def program() -> None:
        lock, cell = Spinlock("lock"), Cell()

        def work() -> None:
            with lock.irq():
                cell.plain += 1

        join(spawn(work), spawn(work))
        check(cell.plain == 2, "both")

    result = explore(program, strategy="dpor", executions=200)
    assert not result.failures
    assert result.executions < 10, "what a task does to its own interrupts depends on nobody"


def test_outside_programs_they_act_at_once() -> None:
    lock = Spinlock("outside")
    with lock.irq():
        assert irqs_disabled()
    with lock.bh():
        assert lock.held_by_me()
    assert not irqs_disabled()
