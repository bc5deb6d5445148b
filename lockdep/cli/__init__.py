"""The command line of the validator by itself: `python -m sugarbush.lockdep`."""

from sugarbush.lockdep.cli.app import main
from sugarbush.lockdep.cli.runner import run_program

__all__ = [
    "main",
    "run_program",
]
