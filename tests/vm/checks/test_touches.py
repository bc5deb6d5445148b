"""Operations that say where they go (`touches=`) go there, all of it, and nowhere else.

The audit complains of a place that was left out if another task uses it in the same execution. Here every touch of an
effect is compared, whoever else uses the place.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sugarbush.concurrency.core import Place, class_of
from sugarbush.concurrency.lowlevel import Operation, audit
from sugarbush.concurrency.runtimes.audit import undeclared
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.scenarios import find_scenario
from sugarbush.vm.frames import alloc_folio
from sugarbush.vm.frames.swap import delete_from_swap_cache, swap_duplicate, swapon, try_add_to_swap_cache
from sugarbush.vm.vmas import boot

registry.load()
SCENARIOS = (
    "swap-build",
    "brk-standard",
    "dirty-cow-fixed",
    "migrate-batch-fixed",
    "hugetlb-unshare-gup-fixed",
    "kevent-rtnl-cycle-fixed",
    "swap-in-other-slot-fixed",
    "zswap-writeback-fixed",
    "zap-during-swapoff-fixed",
)
NEVER_CHANGES = {"mem_map", "memory", "mmap_lock", "nodes", "pfn", "pmd_size", "slots", "zero_page"}
"""Made with their object."""
SHAPE = {"head", "order", "pages"}
"""Of a folio: changed by operations only that may touch anything, so that their order against all others is kept."""
STANDS_FOR = {
    ("mmput", ""): "whoever asks whether it has ended does so right after an operation on the lock",
    ("user_load", "user page"): "what stands there is compared by the scenario, too",
    ("user_store", "user page"): "the same",
    (
        "user_load",
        "tlb of",
    ): "an entry of the calling task, which nobody else changes: its flushes go by `tlb`",
    ("user_store", "tlb of"): "the same",
}
"""Places that are more than an attribute, with what they stand for."""


def operations() -> list[Operation]:
    """Those of the model that say where they go."""
    found = [one for one in gc.get_objects() if isinstance(one, Operation) and one.touches is not None]
    return [op for op in found if str(op.touches.__module__).startswith("sugarbush.vm")]  # type: ignore[union-attr]


def given_up() -> None:
    """What zswap does where the slot has another page by then; no scenario comes there in a few executions."""
    memory = boot(6).memory
    slot, folio = swapon(memory, 2).slots[0], alloc_folio(memory)
    assert folio is not None
    swap_duplicate(slot)
    folio.lock.lock()
    assert try_add_to_swap_cache(slot, folio)
    delete_from_swap_cache(slot, folio)
    folio.lock.unlock()


def test_effects_go_where_they_say_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    said: set[tuple[str, str, type]] = set()
    touched: set[tuple[str, str, type]] = set()
    elsewhere: set[tuple[str, str, bool]] = set()
    never_asked = {op.name for op in operations()}
    assert len(never_asked) >= 20

    def asked(op: Operation) -> Callable[[Any, Any, Any], list[Place] | None]:
        says = op.touches
        assert says is not None

        def touches(obj: Any, task: Any, arg: Any) -> list[Place] | None:
            never_asked.discard(op.name)
            places = says(obj, task, arg)
            for on, field, _ in places or ():
                said.add((op.name, re.sub(" ?[0-9]+$", "", field or ""), class_of(on)))
            return None if places is None else list(places)

        return touches

    def hears(self: Any, turn: Any, what: Any, name: str, *, changed: bool, inside: bool) -> None:
        if inside and turn.said is not None:
            field = undeclared.place_of(what.obj, name)
            touched.add((turn.op.name, field, class_of(what.obj)))
            if not undeclared.covers(turn.said, what.obj, name, changed=changed):
                elsewhere.add((turn.op.name, field, changed))

    for op in operations():
        monkeypatch.setattr(op, "touches", asked(op))
    monkeypatch.setattr(undeclared.Undeclared, "touched", hears)
    for name in SCENARIOS:
        scenario = find_scenario(name)
        audit(
            scenario.program,
            executions=2,
            settings=replace(scenario.settings(), max_steps=6000),
            keep_going=True,
        )
    audit(given_up, executions=1, keep_going=True)
    assert never_asked == set()
    assert {one for one in elsewhere if one[2] or one[1] not in NEVER_CHANGES | SHAPE} == set(), (
        "left out of touches="
    )
    of_objects = {(op, cls) for op, _, cls in touched}
    too_much = {
        (op, field)
        for op, field, cls in said
        if ((op, cls) not in of_objects if field == "" else (op, field, cls) not in touched)
    }
    assert too_much - STANDS_FOR.keys() == set(), "in touches=, and not touched: schedules for nothing"
