"""Schedules that were recorded once go on to lead where they led."""

from __future__ import annotations

import pytest
from recorded_schedules import recorded, replayed

from sugarbush.stress.kit import registry
from sugarbush.stress.kit.scenarios import find_scenario

registry.load()


@pytest.mark.parametrize("part", range(4))
def test_recorded_schedules_do_what_they_did(part: int) -> None:
    lines = recorded()
    assert len(lines) == 200
    for line in lines[part::4]:
        assert replayed(find_scenario(line["scenario"]), line["schedule"]) == line
