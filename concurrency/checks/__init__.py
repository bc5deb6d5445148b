"""The observers of every execution: races, the link to lockdep, sections, recorders; and what depends on what."""

from sugarbush.concurrency.checks.dependence import REACHING, Dependence, either_first, takes_lock
from sugarbush.concurrency.checks.looks import balance, only_looks, same_value, tries
from sugarbush.concurrency.checks.meeting import Meeting
from sugarbush.concurrency.checks.past import Clock, merge
from sugarbush.concurrency.checks.race import RaceDetector
from sugarbush.concurrency.checks.recorder import Event, Recorder
from sugarbush.concurrency.checks.sections import Sections
from sugarbush.concurrency.checks.snapshot import describe, describe_tasks
from sugarbush.concurrency.checks.validator import LockValidator

__all__ = [
    "REACHING",
    "Clock",
    "Dependence",
    "Event",
    "LockValidator",
    "Meeting",
    "RaceDetector",
    "Recorder",
    "Sections",
    "balance",
    "describe",
    "describe_tasks",
    "either_first",
    "merge",
    "only_looks",
    "same_value",
    "takes_lock",
    "tries",
]
