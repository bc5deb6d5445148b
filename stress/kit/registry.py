"""The scenarios that come with Sugarbush, made known on demand.

A scenario is known once its module has been imported. What looks one up stands below the modules that define them, so
it does not import them: it calls `load`, which finds them by name. Nobody imports a module for that side effect.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

MODULE = "sugarbush.stress.cli.built_in"
"""Names those that are neither a bug of the catalogue nor torture."""
ROOMS = ("sugarbush.stress.catalogue",)
"""Each file in them registers what it defines: a new one is known as soon as it is there."""
_MODULES = ("sugarbush.stress.torture.scenarios", MODULE)


def load() -> None:
    """Register them all, once."""
    # By name, which iter_modules gives in order: a bug whose number is taken is refused, and which one must not depend
    # on the file system.
    for room in ROOMS:
        for module in iter_modules(import_module(room).__path__, f"{room}."):
            import_module(module.name)
    for name in _MODULES:
        import_module(name)
