"""Putting hooks where the standard library's own functions stand, and taking them out again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_MISSING = object()


class Patches:
    """What was replaced, to be put back in reverse order."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any, Any]] = []

    def put(self, owner: Any, name: str, new: Any) -> None:
        """Replaces an attribute of a module or a class."""
        old = vars(owner).get(name, _MISSING)
        setattr(owner, name, new)
        self._done.append((owner, name, old, new))

    def wrap(self, owner: Any, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replaces a function by one that calls it; the new one looks like the old one."""
        old = getattr(owner, name, None)
        if old is None:
            return
        self.put(owner, name, functools.wraps(old)(around(old)))

    def undo(self) -> None:
        """Puts everything back; what somebody else has replaced meanwhile stays."""
        # In reverse, so that what was wrapped twice comes off in layers. What somebody has wrapped around ours calls
        # ours still, and must not be cut off: our hooks then find no program that is live, and only pass the call on.
        for owner, name, old, new in reversed(self._done):
            if vars(owner).get(name, _MISSING) is not new:
                continue
            if old is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, old)
        self._done.clear()
