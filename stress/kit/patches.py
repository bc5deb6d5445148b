"""Patches: a replacement of one function of the model, which makes one historical bug.

    @patch(brk.do_brk_munmap)
    def do_brk_munmap(mm, vma, newbrk, oldbrk): ...

While a patch is applied, whoever holds the function calls the replacement: modules that imported it by its name, those
of the workload as well as those of the model, tables, partials, closures and default arguments
(`sugarbush.stress.kit.captures`). Only the replacement itself goes on calling the function of before, by
`NAME.original` or by what it has captured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any
from weakref import WeakSet

from sugarbush.concurrency import SugarbushError
from sugarbush.lockdep.model import is_part
from sugarbush.stress.kit.captures import MODEL, Changes, HeldFast


class PatchError(SugarbushError):
    """A patch that cannot be applied; the message says why."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Patch:
    """`replacement` stands in for `original`, a function or method of `vm` or `tree`."""

    original: FunctionType
    replacement: Callable[..., Any]

    def __post_init__(self) -> None:
        """Remember it, for whoever patches the same function."""
        _patches.add(self)

    @property
    def name(self) -> str:
        """The patched function, as ``module.function``."""
        return f"{self.original.__module__}.{self.original.__qualname__}"


_patches: WeakSet[Patch] = WeakSet()
"""All that there are."""


def patch(original: Callable[..., Any]) -> Callable[[Callable[..., Any]], Patch]:
    """Make a `Patch` of the decorated function; raises `PatchError` for anything outside `vm` and `tree`."""
    if not isinstance(original, FunctionType) or not is_part(original.__module__, MODEL):
        raise PatchError(f"{original!r} is no function of vm or tree, so there is nothing to patch")

    def make(replacement: Callable[..., Any]) -> Patch:
        return Patch(original, replacement)

    return make


@contextmanager
def applied(patches: Iterable[Patch]) -> Iterator[None]:
    """Apply the patches for the length of a `with` block; raises `PatchError` if one cannot be, and applies none."""
    # A patch keeps its function, so that it can be called: it is no place that has to be changed.
    changes = Changes((Patch,), (Patch, patch))
    try:
        for one in patches:
            try:
                if not changes.replace(one.name, one.original, one.replacement, _replacements(one.original)):
                    raise PatchError(f"{one.name} is patched already")
            except HeldFast as error:
                raise PatchError(str(error)) from None
        yield
    finally:
        changes.undo()


def _replacements(original: FunctionType) -> list[Callable[..., Any]]:
    return [one.replacement for one in _patches if one.original is original]
