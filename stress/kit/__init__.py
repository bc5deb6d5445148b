"""What scenarios are made of: scenarios, patches, bugs, checks, sources."""

from sugarbush.stress.kit.bugs import Bug, all_bugs, bug, find_bug
from sugarbush.stress.kit.checks import CHECKS
from sugarbush.stress.kit.counts import Counts
from sugarbush.stress.kit.formats import FileFormat, known_checks
from sugarbush.stress.kit.lanes import WIDTH, Marked, drawn, headline, timeline
from sugarbush.stress.kit.load import load_file, loaded_files, place_of
from sugarbush.stress.kit.patches import applied, patch
from sugarbush.stress.kit.plan import Plan
from sugarbush.stress.kit.process import Process
from sugarbush.stress.kit.scenarios import (
    LARGEST,
    BadParameter,
    Scenario,
    UnknownScenario,
    all_scenarios,
    find_scenario,
    scenario,
)
from sugarbush.stress.kit.source import ScenarioSource

__all__ = [
    "CHECKS",
    "LARGEST",
    "WIDTH",
    "BadParameter",
    "Bug",
    "Counts",
    "FileFormat",
    "Marked",
    "Plan",
    "Process",
    "Scenario",
    "ScenarioSource",
    "UnknownScenario",
    "all_bugs",
    "all_scenarios",
    "applied",
    "bug",
    "drawn",
    "find_bug",
    "find_scenario",
    "headline",
    "known_checks",
    "load_file",
    "loaded_files",
    "patch",
    "place_of",
    "scenario",
    "timeline",
]
