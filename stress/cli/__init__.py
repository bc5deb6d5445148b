"""The command line, one file a command."""

from sugarbush.stress.cli.app import main

__all__ = [
    "main",
]
