"""A pytest plugin that minimises and replays every witness that the tests it runs with come across.

    pytest -p tests.every_witness tests/concurrency

Each must replay, be found again smaller or as it is, replay then as well, and be left alone by a second minimisation.
"""

from __future__ import annotations

from typing import Any

import pytest

from sugarbush.concurrency import replay
from sugarbush.concurrency.core.failure import same_failure
from sugarbush.concurrency.search.tally import Tally
from sugarbush.concurrency.witness.minimising import minimised
from sugarbush.concurrency.witness.result import Witness

_TRIES = 300
_LONGEST = 20_000
_count = 0


@pytest.fixture(autouse=True)
def _minimised(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Tally.failed

    def looked_at(tally: Tally, witness: Witness) -> None:
        before = len(tally.result.failures)
        failed(tally, witness)
        for one in tally.result.failures[before:]:
            if one.events and one.steps <= _LONGEST:
                _look(tally.program, one, tally.settings)

    monkeypatch.setattr(Tally, "failed", looked_at)


def _look(program: Any, witness: Witness, settings: Any) -> None:
    global _count
    _count += 1
    small = minimised(program, witness, settings, _TRIES)
    assert small.witness.preemptions <= witness.preemptions
    assert same_failure(small.witness.failure, witness.failure)
    again = replay(program, str(small.witness.schedule), settings=settings)
    assert again.failure.signature == small.witness.failure.signature
    if small.complete:
        second = minimised(program, small.witness, settings, _TRIES)
        assert second.witness.schedule == small.witness.schedule


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many there were."""
    terminalreporter.write_line(f"every witness: {_count} minimised and replayed")
