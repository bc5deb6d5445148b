"""Every report about locks and RCU names the line of the program, what is held since which line, and the stack.

The table has one program for each place in the source that makes such a report; a test finds those places, so that a
new kind of report without a program here fails.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sugarbush import concurrency
from sugarbush.concurrency import (
    Completion,
    Failure,
    Mutex,
    RcuHead,
    RcuPtr,
    RwSemaphore,
    Settings,
    Shared,
    Spinlock,
    SrcuStruct,
    WaitQueue,
    explore,
    join,
    rcu_dereference_check,
    spawn,
)
from sugarbush.concurrency.cpu.irq import hardirq, local_bh_enable, local_irq_disable, local_irq_enable
from sugarbush.concurrency.cpu.preempt import preempt_enable
from sugarbush.concurrency.rcu import (
    call_rcu,
    cleanup_srcu_struct,
    init_rcu_head_on_stack,
    rcu_read_lock,
    rcu_read_unlock,
    rcu_reader,
    srcu_down_read,
    srcu_read_lock,
    srcu_read_unlock,
    srcu_reader,
    srcu_up_read,
    synchronize_rcu,
    synchronize_srcu,
)

HERE = "core/test_report_places.py"
SOURCE = Path(concurrency.__file__).parent

Program = Callable[[], Any]
PROGRAMS: dict[str, list[Program]] = {}


def reports(*makers: str) -> Callable[[Program], Program]:
    """The program makes the report of these places in the source, as ``file:function``."""

    def decorate(program: Program) -> Program:
        for maker in makers:
            PROGRAMS.setdefault(maker, []).append(program)
        return program

    return decorate


@reports("locks/lock.py:_not_held")
def not_held() -> None:
    outer, mutex = Mutex("outer"), Mutex("mutex")
    with outer:
        mutex.assert_held()


@reports("locks/lock.py:_unheld_release")
def bad_unlock() -> None:
    outer, mutex = Mutex("outer"), Mutex("mutex")
    with outer:
        mutex.unlock()


@reports("core/context.py:might_sleep")
def sleep_in_atomic() -> None:
    spinlock, mutex = Spinlock("outer"), Mutex("mutex")
    with spinlock, mutex:
        pass


@reports("core/context.py:might_sleep")
def sleep_before_sleep() -> None:
    outer, queue = Mutex("outer"), WaitQueue("queue")
    with outer:
        queue.prepare_to_wait()
        Completion("completion").wait()


@reports("cpu/irq.py:_unbalanced")
def irqs_on_twice() -> None:
    with Mutex("outer"):
        local_irq_enable()


@reports("cpu/irq.py:_unbalanced")
def bh_on_twice() -> None:
    with Mutex("outer"):
        local_bh_enable()


@reports("cpu/preempt.py:_on")
def preemption_on_twice() -> None:
    with Mutex("outer"):
        preempt_enable()


@reports("checks/validator.py:_ended")
def ends_with_interrupts_off() -> None:
    local_irq_disable()


@reports("checks/validator.py:_raise")
def circular() -> None:
    outer, inner = Mutex("outer"), Mutex("inner")

    def deposit(first: Mutex, second: Mutex) -> None:
        with first, second:
            pass

    join(spawn(deposit, outer, inner))
    join(spawn(deposit, inner, outer))


@reports("checks/validator.py:_raise")
def recursive() -> None:
    outer = RwSemaphore("outer")
    outer.down_read()
    outer.down_read()


@reports("checks/validator.py:_raise")
def inconsistent() -> None:
    outer, spinlock = Spinlock("outer"), Spinlock("spinlock")
    with hardirq(), spinlock:
        pass
    with outer, spinlock:
        pass


@reports("checks/validator.py:_raise")
def irq_order() -> None:
    outer, inner = Spinlock("outer"), Spinlock("inner")
    with hardirq(), outer:
        pass
    with inner:
        pass
    local_irq_disable()
    with outer, inner:
        pass


@reports("checks/validator.py:_raise")
def irq_inversion() -> None:
    outer, inner = Spinlock("outer"), Spinlock("inner")
    with outer, inner:
        pass
    local_irq_disable()
    with Spinlock("outer"):
        pass
    local_irq_enable()
    with hardirq(), Spinlock("other"), outer:
        pass


@reports("checks/validator.py:_raise")
def nest_lock() -> None:
    with Mutex("outer"):
        Mutex("inner").lock(nest_lock=Mutex("nest"))


@reports("checks/validator.py:_raise")
def held_at_exit() -> None:
    Mutex("outer").lock()


@reports("checks/validator.py:_raise")
def srcu_circle() -> None:
    srcu, outer = SrcuStruct("outer"), Mutex("mutex")
    with srcu_reader(srcu), outer:
        pass
    with outer:
        synchronize_srcu(srcu)


@reports("rcu/report.py:suspicious")
def grace_period_in_reader() -> None:
    with Mutex("outer"), rcu_reader():
        synchronize_rcu()


@reports("rcu/report.py:unbalanced")
def end_of_no_reader() -> None:
    with Mutex("outer"):
        rcu_read_unlock()


@reports("rcu/srcu.py:_unlock")
def wrong_index() -> None:
    srcu = SrcuStruct("srcu")
    with Mutex("outer"):
        index = srcu_read_lock(srcu)
        srcu_read_unlock(srcu, index + 1)


@reports("rcu/srcu.py:_up")
def index_of_no_reader() -> None:
    srcu = SrcuStruct("srcu")
    with Mutex("outer"):
        srcu_up_read(srcu, srcu_down_read(srcu) + 1)


@reports("rcu/srcu.py:_clean_up")
def domain_in_use() -> None:
    srcu = SrcuStruct("srcu")
    with Mutex("outer"), srcu_reader(srcu):
        cleanup_srcu_struct(srcu)


@reports("rcu/check.py:ended")
def ends_inside_a_reader() -> None:
    rcu_read_lock()


@reports("rcu/callbacks.py:_queued_twice")
def queued_twice() -> None:
    head = RcuHead("head")
    with rcu_reader():
        call_rcu(lambda _: None, None, head)
        call_rcu(lambda _: None, None, head)


@reports("rcu/callbacks.py:_must_not_be_queued")
def head_goes() -> None:
    head = RcuHead("head")

    def work() -> None:
        init_rcu_head_on_stack(head)
        call_rcu(lambda _: None, None, head)

    with rcu_reader():
        join(spawn(work))


class Pointer(Shared):
    to: RcuPtr[Any] = None


@reports("memory/field.py:suspicious")
def no_reader() -> None:
    pointer = Pointer()
    with Mutex("outer"):
        rcu_dereference_check(pointer, "to", False)


EVERY = list(dict.fromkeys(program for made in PROGRAMS.values() for program in made))


def failure_of(program: Program, runtime: str = "simulated", **how: Any) -> Failure:
    result = explore(program, executions=1, runtime=runtime, settings=Settings(**how))
    assert result.failures, "it fails in its first execution"
    return result.failures[0].failure


@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
@pytest.mark.parametrize("program", EVERY, ids=lambda program: program.__name__)
def test_a_report_names_lines_of_the_program_and_none_of_ours(program: Program, runtime: str) -> None:
    failure = failure_of(program, runtime)
    told = f"{failure.headline}\n{failure.detail}"
    places = set(re.findall(r"[\w<>./]+:\d+\b(?=\)|,|$|:| |!)", told, re.MULTILINE))
    assert any(place.startswith(HERE) for place in places), told
    assert not [place for place in places if ".py:" in place and not place.startswith(HERE)], told


@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
@pytest.mark.parametrize("program", EVERY, ids=lambda program: program.__name__)
def test_a_report_names_the_lock_that_is_held_and_where_it_was_taken(program: Program, runtime: str) -> None:
    if "outer" in inspect.getsource(program):
        told = failure_of(program, runtime).detail
        assert re.search(rf"outer.*{HERE}:\d+", told), told


def makers() -> Iterator[str]:
    """Every function of the engine that makes a report of these kinds, as ``file:function``."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for call in ast.walk(node):
                    if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Failure":
                        kind = ast.unparse(call.args[0]) if call.args else ""
                        if kind in ("Kind.LOCKDEP", "Kind.RCU"):
                            yield f"{path.relative_to(SOURCE).as_posix()}:{node.name}"


def test_every_place_that_makes_such_a_report_has_a_program() -> None:
    assert set(makers()) == set(PROGRAMS)
