"""The faults that were there, put back one by one: the adversary finds each of them (docs/adversary.md).

`truth` says which untrue verdict it is. `put` puts the fault back by `monkeypatch`; what finds it is a comparison with
a profile, and `hints` are seeds that are tried first. A hint is only where to begin: if the generator changes, the
seeds of the suite are gone through.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import adversary_compare as compare
import adversary_language
import pytest
from adversary_language import Program

from sugarbush.concurrency.checks.dependence import Dependence, Scope
from sugarbush.concurrency.core.execution import START
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import current_task
from sugarbush.concurrency.runtimes.audit import Audit
from sugarbush.concurrency.runtimes.simulated import Simulated
from sugarbush.concurrency.strategies.wakeup import Reversal, Turn

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault."""

    name: str
    truth: str
    put: Callable[[Patch], None]
    finder: Callable[[Program], str]
    profile: str
    hints: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name


def _program_calls(patch: Patch, name: str, fn: Callable[..., Any]) -> None:
    """Have programs call `fn` for this public name."""
    adversary_language.compiled(Program(((),)))
    patch.setitem(adversary_language._shared, name, fn)


def _unseen(op: Operation) -> Callable[[Any, Any], Any]:
    """The effect of `op`, without the operation."""
    assert op.effect is not None
    return lambda obj, arg=None: op.effect(obj, current_task(), arg)


# -- A: passed what fails -------------------------------------------------------------------------------------------


def leaf_beside_its_sibling(patch: Patch) -> None:
    true = Reversal.disturbed

    def disturbed(self: Reversal, turn: Turn) -> int | None:
        events = true(self, turn)
        covered = events is None and not self.has(turn) and self._last.task != turn.task
        return 0 if covered else events

    patch.setattr(Reversal, "disturbed", disturbed)


def starts_are_seen_by_nobody(patch: Patch) -> None:
    true = Dependence._scope

    def scope(self: Dependence, op: Operation, obj: object, other: Operation, on: object) -> Scope:
        return Scope.NOWHERE if START in (op, other) else true(self, op, obj, other, on)

    patch.setattr(Dependence, "_scope", scope)


def cleanup_looks_without_an_operation(patch: Patch) -> None:
    from sugarbush.concurrency.rcu.srcu import CLEANUP_SRCU_STRUCT

    _program_calls(patch, "cleanup_srcu_struct", _unseen(CLEANUP_SRCU_STRUCT))


def wakers_look_without_an_operation(patch: Patch) -> None:
    _program_calls(patch, "wake_up_process", lambda task: bool(task.sleep and task.sleep.asleep))


def a_loop_is_what_it_was(patch: Patch) -> None:
    from sugarbush.concurrency.core.frames import OwnState
    from sugarbush.concurrency.runtimes import liveness

    patch.setattr(liveness, "own_state", lambda *what: OwnState((), []))


def what_never_ran_has_run(patch: Patch) -> None:
    # By the module, since `concurrency.explore` is the function.
    patch.setattr(sys.modules["sugarbush.concurrency.search.exploring"], "check_runs", lambda *what: None)
    patch.setattr("sugarbush.concurrency.runtimes.tasks.check_runs", lambda *what: None)
    patch.setattr("sugarbush.concurrency.runtimes.tasks.check_ran", lambda *what: None)
    patch.setattr("sugarbush.concurrency.witness.result.Result.unexplored", "")


def nobody_asks_whether_tasks_met(patch: Patch) -> None:
    patch.setattr("sugarbush.concurrency.witness.result.Result.unexplored", "")


def a_field_without_a_kind_is_taken(patch: Patch) -> None:
    from sugarbush.concurrency.memory import shared

    true = shared._spell

    def spell(annotation: Any) -> str:
        spelt = true(annotation)
        return spelt if shared._KIND.match(spelt) else f"Unshared[{spelt}]"

    patch.setattr(shared, "_spell", spell)
    patch.setattr("sugarbush.concurrency.witness.result.Result.unexplored", "")


def readers_know_what_came_before_the_beginning(patch: Patch) -> None:
    try:
        from sugarbush.concurrency.rcu.order import GraceOrder
    except ImportError:
        return
    true = GraceOrder._begins

    def begins(self: Any, flavour: Any, key: Any, task: Any) -> None:
        true(self, flavour, key, task)
        for grace in flavour.graces.values():
            self._keeper.learns(task, grace.updates)

    patch.setattr(GraceOrder, "_begins", begins)


def looking_in_vain_orders(patch: Patch) -> None:
    patch.setattr(Operation, "ordered", lambda self, obj, arg, result: obj, raising=False)


def nobody_verifies_declarations(patch: Patch) -> None:
    patch.setattr(compare, "audit", lambda *what, **how: Audit())


# -- B: false alarms, wrong words, wrong ends -----------------------------------------------------------------------


def timers_order_nothing(patch: Patch) -> None:
    from sugarbush.concurrency.waits import timer

    for op in (timer.DEL_TIMER, timer.MOD_TIMER, timer.DEL_TIMER_SYNC_WAIT):
        patch.setattr(op, "orders", lambda obj, arg, result: None, raising=False)
        patch.setattr(op, "acquires", ())


def who_spins_is_never_stopped(patch: Patch) -> None:
    """What a store of the same value did when it counted as progress: each look is one, so nobody ever waits."""
    from sugarbush.concurrency.core.failure import TaskKilled
    from sugarbush.concurrency.core.spin import CPU_RELAX_ON

    def relax(self: Simulated) -> None:
        if self._stopping:
            raise TaskKilled
        self.perform(CPU_RELAX_ON, self.current)

    patch.setattr(Simulated, "relax", relax)


def the_step_limit_gets_out(patch: Patch) -> None:
    true = Simulated._look_again

    def look_again(self: Simulated) -> Any:
        chosen = true(self)
        failure = self._failure
        if chosen is None and failure is not None and failure.kind == "stall":
            raise failure
        return chosen

    patch.setattr(Simulated, "_look_again", look_again)


def nobody_is_asked_again(patch: Patch) -> None:
    patch.setattr(Simulated, "_ask_again", lambda self: None)


def names_are_computed_from_what_was_freed(patch: Patch) -> None:
    def label(obj: object) -> str:
        name = getattr(obj, "name", None)
        return name if isinstance(name, str) else type(obj).__name__

    for module in (
        "core.waiting",
        "checks.race",
        "checks.recorder",
        "memory.slab",
        "witness.moments",
    ):
        patch.setattr(f"sugarbush.concurrency.{module}.label", label, raising=False)


def no_order_matters(patch: Patch) -> None:
    true = compare.explain

    def explain(*what: Any, **how: Any) -> Any:
        said = true(*what, **how)
        return type(said)(**{**_fields(said), "pairs": (), "fixed": (), "schedules": None})

    patch.setattr(compare, "explain", explain)


def _fields(said: Any) -> dict[str, Any]:
    return {name: getattr(said, name) for name in type(said).__dataclass_fields__}


def a_reader_waits_for_readers(patch: Patch) -> None:
    from sugarbush.concurrency.locks.rwsem import HELD, RwSemaphore

    patch.setattr(RwSemaphore, "awaited", lambda self, task: dict.fromkeys(self.holders, HELD))


def reports_have_no_place(patch: Patch) -> None:
    for module in ("locks.lock", "rcu.report", "cpu.preempt", "cpu.irq"):
        patch.setattr(f"sugarbush.concurrency.{module}.caller", lambda: "?", raising=False)
        patch.setattr(f"sugarbush.concurrency.{module}.position", lambda *what: [], raising=False)


def tasks_of_a_function_share_its_name(patch: Patch) -> None:
    patch.setattr("sugarbush.concurrency.runtimes.tasks.own_name", lambda name, names: name)


MUTANTS: list[Mutant] = [
    Mutant(
        "leaf beside its sibling", "A1", leaf_beside_its_sibling, compare.with_traces, "branchy", (31, 41)
    ),
    Mutant(
        "starts are seen by nobody", "A2", starts_are_seen_by_nobody, compare.with_model, "core", (49, 737)
    ),
    Mutant(
        "cleanup looks", "A3", cleanup_looks_without_an_operation, compare.with_enumeration, "rcu", (102,)
    ),
    Mutant(
        "wakers look", "A3", wakers_look_without_an_operation, compare.with_enumeration, "wait", (16, 446)
    ),
    Mutant("loops never give up", "A4", a_loop_is_what_it_was, compare.with_model, "spin", (73, 105)),
    Mutant(
        "readers know too much",
        "A6",
        readers_know_what_came_before_the_beginning,
        compare.with_races,
        "races",
        (261,),
    ),
    Mutant("looking in vain orders", "A7", looking_in_vain_orders, compare.with_races, "races", (210, 244)),
    Mutant(
        "declarations are believed", "A8", nobody_verifies_declarations, compare.with_lies, "custom", (2, 10)
    ),
    Mutant(
        "places are believed",
        "A8",
        nobody_verifies_declarations,
        compare.with_places_left_out,
        "places",
        (21, 23),
    ),
    Mutant("timers order nothing", "B1", timers_order_nothing, compare.with_races, "races", (97, 112)),
    Mutant(
        "who spins is never stopped", "B2", who_spins_is_never_stopped, compare.stays_short, "spin", (4, 5)
    ),
    Mutant("the step limit gets out", "B3", the_step_limit_gets_out, compare.ends, "spin", (0, 4)),
    Mutant("nobody is asked again", "B4", nobody_is_asked_again, compare.with_lies, "custom", (106, 130)),
    Mutant(
        "computed names", "B5", names_are_computed_from_what_was_freed, compare.with_words, "slab", (4, 9)
    ),
    Mutant("no order matters", "B6", no_order_matters, compare.with_explanation, "custom", (87, 111)),
    Mutant(
        "readers wait for readers",
        "B7",
        a_reader_waits_for_readers,
        compare.with_circles,
        "circles",
        (205, 231),
    ),
    Mutant("no place", "B10", reports_have_no_place, compare.with_words, "wrong", (3, 9)),
    Mutant("one name", "B10", tasks_of_a_function_share_its_name, compare.with_words, "wrong", (4, 8)),
]

NEVER: dict[str, tuple[Callable[[Patch], None], str]] = {
    "what never ran has run": (what_never_ran_has_run, "a generator function"),
    "tasks that never meet": (nobody_asks_whether_tasks_met, "tasks that share nothing"),
    "a field without a kind": (a_field_without_a_kind_is_taken, "a field without a kind"),
}
"""A5: for each fault the way in which nothing is explored that shows it."""
