"""The kit of the tools that run plain threads."""

from __future__ import annotations

import threading
from typing import Any


class State:
    pass


class Threads:
    def state(self, shared: dict[str, int], **others: Any) -> State:
        state = State()
        for name, value in {**shared, **others}.items():
            setattr(state, name, value)
        return state

    def lock(self, name: str) -> Any:  # noqa: ARG002
        return threading.Lock()

    def condition(self) -> Any:
        return threading.Condition()


KIT = Threads()
