"""Runs of scenarios: campaigns, hunts, their states, progress and words."""

from sugarbush.stress.runs.beside import side_by_side
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
from sugarbush.stress.runs.proof import DEFAULT_SECONDS, Proof, commit, sources
from sugarbush.stress.runs.proven import Proven, Proving, prove_bug
from sugarbush.stress.runs.results import Case
from sugarbush.stress.screen import line, note, out

__all__ = [
    "DEFAULT_OUT",
    "DEFAULT_SCHEDULES",
    "DEFAULT_SECONDS",
    "Campaign",
    "Case",
    "Hunt",
    "Outcome",
    "Proof",
    "Proven",
    "Proving",
    "Unusable",
    "again",
    "all_cores",
    "as_text",
    "commit",
    "dask",
    "hunted",
    "line",
    "note",
    "out",
    "print_found",
    "prove_bug",
    "resident",
    "shown",
    "shown_by",
    "side_by_side",
    "sources",
    "summary",
    "write_results",
]
