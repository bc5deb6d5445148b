"""Schedules that were recorded once go on to lead where they led."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

import pytest
from recorded_schedules import recorded, replayed

from sugarbush.stress.kit import registry
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import find_scenario

registry.load()


@pytest.mark.parametrize("part", range(4))
def test_recorded_schedules_do_what_they_did(part: int) -> None:
    lines = sorted(recorded(), key=itemgetter("scenario"))
    assert len(lines) == 200
    groups = [(name, list(group)) for name, group in groupby(lines, itemgetter("scenario"))]
    for name, group in groups[part::4]:
        scenario = find_scenario(name)
        # Once for all of its schedules: patching goes through every object that there is.
        with applied(scenario.patches):
            for line in group:
                assert replayed(scenario, line["schedule"]) == line
