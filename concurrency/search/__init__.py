"""Many executions: explore, in one process or several, and what is counted."""

from sugarbush.concurrency.search.answers import run_text
from sugarbush.concurrency.search.auditing import audit
from sugarbush.concurrency.search.batch import Opened
from sugarbush.concurrency.search.exploring import RUNTIMES, explore
from sugarbush.concurrency.search.pool import Processes
from sugarbush.concurrency.search.sample import Sampler

__all__ = [
    "RUNTIMES",
    "Opened",
    "Processes",
    "Sampler",
    "audit",
    "explore",
    "run_text",
]
