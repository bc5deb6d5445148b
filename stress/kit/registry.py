"""The scenarios that come with Sugarbush, made known on demand.

A scenario is known once its module has been imported. What looks one up stands below the modules that define them, so
it does not import them: it calls `load`, which finds them by name.
"""

from __future__ import annotations

from importlib import import_module

MODULE = "sugarbush.stress.cli.built_in"
"""Imports the modules of all scenarios."""


def load() -> None:
    """Register them all, once."""
    import_module(MODULE)
