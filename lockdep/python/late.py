"""Hooks in modules that the program may load later, or never: they are put when the module has been loaded."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Hook = Callable[[ModuleType], None]


class LateHooks(importlib.abc.MetaPathFinder):
    """Calls a function with a module, now if it is there, else once it has been loaded."""

    def __init__(self) -> None:
        self._hooks: dict[str, Hook] = {}

    def add(self, name: str, hook: Hook) -> None:
        """The hook of one module."""
        module = sys.modules.get(name)
        if module is not None:
            hook(module)
            return
        self._hooks[name] = hook
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def undo(self) -> None:
        """Waits for no module any more."""
        self._hooks.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find what the finder of files finds, for a module that is waited for, and have its hook called when it is
        loaded.

        None, and so the next finder is asked, for all others, and for what is not loaded from a file.
        """
        # Out of the table first, so that the search below does not come back here.
        hook = self._hooks.pop(fullname, None)
        if hook is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        loader: Any = None if spec is None else spec.loader
        if spec is None or not hasattr(loader, "exec_module"):
            return None
        # The loader is wrapped, and not the module looked at afterwards: the hook must have been there before the
        # code that imports the module goes on.
        real = loader.exec_module

        @functools.wraps(real)
        def exec_module(module: ModuleType) -> None:
            real(module)
            hook(module)

        try:
            loader.exec_module = exec_module
        except AttributeError:
            return None
        return spec
