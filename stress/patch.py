"""Patches: a replacement of one function of the model, which makes one historical bug.

    @patch(brk.do_brk_munmap)
    def do_brk_munmap(mm, vma, newbrk, oldbrk): ...

While a patch is applied, every module of `vm` and `tree` that knows the function by its name calls the replacement.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from concurrency import SugarbushError

_PATCHABLE = ("vm", "tree")


class PatchError(SugarbushError):
    """A patch that cannot be applied; the message says why."""


@dataclass(frozen=True, slots=True)
class Patch:
    """`replacement` stands in for `original`, a function or method of `vm` or `tree`."""

    original: FunctionType
    replacement: Callable[..., Any]

    @property
    def name(self) -> str:
        """The patched function, as ``module.function``."""
        return f"{self.original.__module__}.{self.original.__qualname__}"


def patch(original: Callable[..., Any]) -> Callable[[Callable[..., Any]], Patch]:
    """Make a `Patch` of the decorated function; raises `PatchError` for anything outside `vm` and `tree`."""
    if not isinstance(original, FunctionType) or original.__module__.partition(".")[0] not in _PATCHABLE:
        raise PatchError(f"{original!r} is no function of vm or tree, so there is nothing to patch")

    def make(replacement: Callable[..., Any]) -> Patch:
        return Patch(original, replacement)

    return make


@contextmanager
def applied(patches: Iterable[Patch]) -> Iterator[None]:
    """Apply the patches for the length of a `with` block."""
    changed: list[tuple[object, str, object]] = []
    try:
        for one in patches:
            places = list(_places(one.original))
            if not places:
                raise PatchError(f"{one.name} is patched already")
            for owner, name in places:
                changed.append((owner, name, one.original))
                setattr(owner, name, one.replacement)
        yield
    finally:
        for owner, name, original in changed:
            setattr(owner, name, original)


def _places(function: FunctionType) -> Iterator[tuple[object, str]]:
    """Where the model knows `function` by a name: in modules, and in the classes that they define."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] not in _PATCHABLE:
            continue
        for name, value in list(vars(module).items()):
            if value is function:
                yield module, name
            elif isinstance(value, type) and value.__module__ == module_name:
                for attribute, member in list(vars(value).items()):
                    if member is function:
                        yield value, attribute
