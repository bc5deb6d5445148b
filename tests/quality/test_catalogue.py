"""Each bug of the catalogue is found in its patched form and absent from the fixed one; bounds are on executions."""

from __future__ import annotations

import pytest

from sugarbush.concurrency import Result, explore
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.bugs import Bug, all_bugs
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import Scenario

registry.load()

assert len(all_bugs()) >= 99
BUGS = [pytest.param(bug, id=bug.name) for bug in all_bugs()]
SCHEDULES = 4000
CLEAN = [30, pytest.param(300, marks=pytest.mark.exhaustive)]


def run(scenario: Scenario, executions: int) -> Result:
    with applied(scenario.patches):
        return explore(scenario.program, executions=executions, seed=2, settings=scenario.settings())


@pytest.mark.parametrize("bug", BUGS)
def test_found_as_the_catalogue_says(bug: Bug) -> None:
    failures = [witness.failure for witness in run(bug.broken, SCHEDULES).failures]
    assert [(failure.kind, failure.check) for failure in failures] == [(bug.kind, bug.check)]


@pytest.mark.parametrize("executions", CLEAN)
@pytest.mark.parametrize("bug", BUGS)
def test_clean_when_fixed(bug: Bug, executions: int) -> None:
    assert [witness.failure.headline for witness in run(bug.fixed, executions).failures] == []


@pytest.mark.parametrize("bug", BUGS)
def test_told_and_patched(bug: Bug) -> None:
    assert len([part for part in bug.story.split("\n\n") if part]) >= 2
    # The two forms differ in the patches, or where the model lacks the operation, in the program.
    assert bool(bug.broken.patches) == (bug.broken.program is bug.fixed.program)
    assert not bug.fixed.patches
