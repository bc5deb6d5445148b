"""Runs of scenarios: campaigns, hunts, their states, progress and words."""

from sugarbush.stress.runs.campaign import Campaign
from sugarbush.stress.runs.console import (
    DEFAULT_OUT,
    Unusable,
    again,
    as_text,
    print_found,
    write_results,
)
from sugarbush.stress.runs.ending import summary
from sugarbush.stress.runs.executors import all_cores, dask
from sugarbush.stress.runs.hunt import DEFAULT_SCHEDULES, Hunt, Outcome, hunted, shown_by
from sugarbush.stress.runs.progress import resident, shown
from sugarbush.stress.runs.proof import Proof
from sugarbush.stress.runs.results import Case
from sugarbush.stress.screen import line, note, out

__all__ = [
    "DEFAULT_OUT",
    "DEFAULT_SCHEDULES",
    "Campaign",
    "Case",
    "Hunt",
    "Outcome",
    "Proof",
    "Unusable",
    "again",
    "all_cores",
    "as_text",
    "dask",
    "hunted",
    "line",
    "note",
    "out",
    "print_found",
    "resident",
    "shown",
    "shown_by",
    "summary",
    "write_results",
]
