"""exit_mmap() takes mmap_lock as its era does, and the OOM reaper may come at any moment."""

from __future__ import annotations

from typing import Any

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import Task, join, spawn
from sugarbush.concurrency.lowlevel import Observer, Operation
from sugarbush.stress.kit.checks import model_observers
from sugarbush.vm.access.user import user_store
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.reclaim.oom import oom_reap_task_mm
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.vmas.era import ERAS
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

WRITER = ["down_write", "up_write"]


class Heard(Observer):
    """What was done to mmap_lock."""

    def __init__(self) -> None:
        self.operations: list[str] = []

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        """See `Observer.performed`."""
        if getattr(obj, "name", "") == "mm->mmap_lock":
            self.operations.append(op.name)


def process(era: str) -> tuple[Machine, MmStruct]:
    machine = boot(4, era)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + 2 * PAGE_SIZE)
    for number in range(2):
        user_store(mm, HEAP + number * PAGE_SIZE, number)
    return machine, mm


@pytest.mark.parametrize(
    ("era", "operations"),
    [
        ("5.19", WRITER),
        ("6.1", ["down_read", "up_read", *WRITER]),
        ("6.6", ["down_read", "up_read", *WRITER]),
    ],
)
def test_which_locks_an_exit_takes(era: str, operations: list[str]) -> None:
    heard = Heard()

    def program() -> None:
        machine, mm = process(era)
        heard.operations.clear()
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert_clean(run_alone(program, observers=lambda: (*model_observers(), heard)))
    assert heard.operations == operations


@pytest.mark.parametrize("executions", [60, pytest.param(200, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_the_reaper_takes_what_is_there_and_no_more(era: str, strategy: str, executions: int) -> None:
    def program() -> None:
        machine, mm = process(era)
        join(spawn(exit_mmap, mm), spawn(oom_reap_task_mm, mm))
        machine.remove_mm(mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))
