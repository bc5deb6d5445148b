"""The operations of the mm model are what they are declared to be, but for what is listed here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sugarbush.concurrency.lowlevel import Operation, audit
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.scenarios import all_scenarios, find_scenario
from sugarbush.vm.files import filemap

registry.load()
KNOWN = (".written", ".mms")
"""Touched without an operation: what
the model keeps for its own checks."""
SOME = (
    "brk-standard",
    "interval-notifier-remove-fixed",
    "madvise-remove-order-fixed",
    "migrate-batch-fixed",
    "mrelease-after-exit-fixed",
    "split-under-rmap-lock-fixed",
    "stackrot-fixed",
    "stress-fork",
    "swap-build",
    "uffd-wp-copy-fixed",
    "uffd-wp-writenotify-fixed",
    "uffd-move-swap-cache-fixed",
    "zap-during-swapoff-fixed",
    "vma-end-read-error-fixed",
    "zswap-duplicate-fixed",
    "zswap-writeback-fixed",
)


def wrong(name: str, executions: int) -> list[str]:
    scenario = find_scenario(name)
    settings = replace(scenario.settings(), max_steps=6000)
    found = audit(scenario.program, executions=executions, settings=settings, keep_going=True).found
    return [said for said in found if not any(f"{known} without an operation" in said for known in KNOWN)]


@pytest.mark.parametrize("name", SOME)
def test_the_operations_of_the_model_are_what_they_are_declared_to_be(name: str) -> None:
    assert wrong(name, 1) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "name", [one.name for one in all_scenarios() if not one.expect and one.memory == "sc"]
)
def test_so_they_are_in_every_scenario(name: str) -> None:
    assert wrong(name, 4) == []


def test_a_page_that_is_taken_out_of_the_cache_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`filemap_remove_folio` was declared local, and the folio it changes is another object."""
    local = Operation("filemap_remove_folio", effect=filemap.DELETE.effect, local=True)
    monkeypatch.setattr(filemap, "DELETE", local)
    assert "its effect changes pfn0.mapping" in wrong("madvise-remove-order-fixed", 1)[0]
