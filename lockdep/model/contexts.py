"""Contexts: in which handlers a task is, and who did something in which of them."""

from __future__ import annotations

from typing import Final, NamedTuple

# Irq contexts; a chain never spans two of them.
IN_SOFTIRQ: Final = 1
IN_HARDIRQ: Final = 2
IN_NMI: Final = 4
CONTEXT_NAMES: Final = ("0", "softirq", "hardirq", "hardirq|softirq", "nmi", "nmi", "nmi", "nmi")


class Maker(NamedTuple):
    """Who did something that reports tell of later: the task, and the irq context in which it was."""

    comm: str
    pid: int
    context: int

    def __str__(self) -> str:
        where = f" in {CONTEXT_NAMES[self.context]}" if self.context else ""
        return f"{self.comm}/{self.pid}{where}"
