"""The program written of a report deadlocks in these orders, and no longer with a gate lock or with one step turned."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from printed import Lock, circular

from sugarbush.concurrency import Settings, explore
from sugarbush.lockdep import LockdepError
from sugarbush.lockdep.read import LogReport, read_stream, read_text
from sugarbush.lockdep.read.scenario import to_scenario
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.scenarios import all_scenarios

registry.load()

CASES = Path(__file__).parents[2] / "data" / "lock-reports"
READ, SEM, SPIN, MUTEX = "down_read", "down_write", "_raw_spin_lock", "mutex_lock_nested"
CYCLES: dict[str, list[Lock]] = {
    "two": [Lock("&a->lock"), Lock("&b->lock")],
    "two-spin": [Lock("&a->lock", SPIN), Lock("&b->lock", SPIN)],
    "two-mixed": [Lock("&a->lock", SPIN), Lock("&b->sem", SEM)],
    "two-one-read": [Lock("&a->sem", READ), Lock("&b->lock")],
    "two-both-read": [Lock("&a->sem", READ), Lock("&b->sem", READ)],
    "two-subclass": [Lock("&p->lock/1"), Lock("&q->lock")],
    "two-subclasses": [Lock("&p->lock"), Lock("&p->lock/1")],
    "two-numbers": [Lock("&t->key#4"), Lock("&t->key#9")],
    "two-work": [Lock("(work_completion)(&x->work)", "__flush_work"), Lock("&x->lock")],
    "two-queue": [Lock("(wq_completion)bake3", "__flush_workqueue"), Lock("rtnl_mutex")],
    "two-reclaim": [Lock("fs_reclaim", "fs_reclaim_acquire"), Lock("&i->lock")],
    "two-words": [Lock("class"), Lock("per_cpu_ptr(&a, cpu)")],
    "three": [Lock("&a->lock"), Lock("&b->lock"), Lock("&c->lock")],
    "three-read": [Lock("&a->sem", READ), Lock("&b->lock"), Lock("&c->sem", READ)],
    "three-spin": [Lock("&a->lock", SPIN), Lock("&b->lock", SPIN), Lock("&c->lock", SPIN)],
    "three-sub": [Lock("&t->key#1"), Lock("&t->key#2/1"), Lock("&c->lock")],
    "three-sems": [Lock("&a->sem", SEM), Lock("&b->sem", SEM), Lock("&c->sem", SEM)],
    "four": [Lock(f"&{name}->lock") for name in "abcd"],
    "four-read": [Lock("&a->sem", READ), Lock("&b->sem", SEM), Lock("&c->lock"), Lock("&d->lock", SPIN)],
    "five": [Lock(f"{name}_mutex") for name in "abcde"],
    "six": [Lock(f"&{name}->lock") for name in "abcdef"],
    "six-sems": [Lock(f"&{name}->sem", SEM) for name in "abcdef"],
}
IRQS = [
    "18-inconsistent.log",
    "20-inconsistent-nmi.log",
    "21-irq-order.log",
    "24-inversion-spaces.log",
    "25-inversion-taken-by.txt",
]
RECURSIVE = ["16-recursive.log", "19-inconsistent-reclaim.log"]


def report_of(name: str) -> LogReport:
    if name in CYCLES:
        (report,) = read_text("\n".join(circular(CYCLES[name])), name)
    else:
        report = next(iter(read_stream(io.BytesIO((CASES / name).read_bytes()), name)))
    assert report.complete
    return report


def written(name: str) -> dict[str, Any]:
    text = to_scenario(report_of(name), f"written-{name}")
    names: dict[str, Any] = {}
    if f"written-{name}" in {one.name for one in all_scenarios()}:
        text = text.replace("\nscenario(", "\n(lambda *_, **__: lambda program: program)(")
    exec(compile(text, f"{name}.py", "exec"), names)
    return names


def kinds(program: Callable[[], None], without: frozenset[str], seed: int = 1) -> list[str]:
    result = explore(program, strategy="pct", executions=300, seed=seed, settings=Settings(without=without))
    return [str(one.failure.kind) for one in result.failures]


def check(name: str, seeds: int = 1) -> None:
    names = written(name)
    program, without = names["program"], names["WITHOUT"]
    steps = len(report_of(name).cycle)
    for seed in range(1, seeds + 1):
        assert kinds(program, without, seed) == ["deadlock"]
    changes: list[dict[str, int]] = [{"turned": 1}]
    if name in CYCLES or "irq-order" in name or "inversion" in name:
        changes = [{"gate": 1}, *({"turned": at} for at in range(1, steps + 1))]
    for change in changes:
        assert kinds(lambda change=change: program(**change), without) == [], change


@pytest.mark.parametrize(
    "name",
    ["two-one-read", "three-sub", "six", "18-inconsistent.log", "21-irq-order.log", "16-recursive.log"],
)
def test_written_orders_deadlock_until_one_is_changed(name: str) -> None:
    check(name)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [*CYCLES, *IRQS, *RECURSIVE])
def test_all_written_orders_deadlock_until_one_is_changed(name: str) -> None:
    check(name, seeds=10)


@pytest.mark.parametrize(
    ("name", "change"), [("two", {"gate": 1}), ("two", {"turned": 1}), ("three", {"gate": 1})]
)
def test_every_schedule_of_the_changed_program_is_safe(name: str, change: dict[str, int]) -> None:
    """PCT looks at some schedules; of these small programs the reduced search sees all."""
    names = written(name)
    without = Settings(without=names["WITHOUT"])
    result = explore(lambda: names["program"](**change), strategy="dpor", executions=3000, settings=without)
    assert result.verdict == "passed"


def test_the_written_file_tests_itself_and_says_what_was_assumed() -> None:
    text = to_scenario(report_of("two-one-read"))
    for part in ("was assumed:", "--gate 1", "--turned 1", "&a->sem is taken for read in", "nothing tells"):
        assert part in text
    names = written("two-one-read")
    names["test_these_orders_deadlock"]()
    names["test_a_gate_lock_or_one_turned_step_makes_them_safe"]()


@pytest.mark.parametrize(
    "name", ["35-cut-in-the-chain.log", "36-cut-at-the-top.log", "28-rcu-then-sleep.log", "33-hung-task.log"]
)
def test_what_has_no_whole_cycle_becomes_no_program(name: str) -> None:
    report = next(iter(read_stream(io.BytesIO((CASES / name).read_bytes()), name)))
    with pytest.raises(LockdepError, match=r"no scenario|nobody knows its cycle"):
        to_scenario(report)


def test_hostile_names_stay_names_in_the_program() -> None:
    bad = ['"""\nimport os\n"""', "a'); exit(3); ('", "\\", "{x}", "#{y}", "lambda"]
    locks = [Lock(name.replace("\n", "\\n")) for name in bad]
    (report,) = read_text("\n".join(circular(locks)), 'log"""\nx')
    names: dict[str, Any] = {}
    exec(compile(to_scenario(report, "hostile-names"), "x.py", "exec"), names)
    assert kinds(names["program"], names["WITHOUT"]) == ["deadlock"]
