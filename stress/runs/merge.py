"""Which witnesses show one bug: the same check broke, at the same pair of operations of two tasks."""

from __future__ import annotations

import re
from typing import NamedTuple

from sugarbush.concurrency import Witness
from sugarbush.concurrency.lowlevel import Event

_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")


class Identity(NamedTuple):
    """What a failure is, whichever page, address and task it happened to."""

    kind: str
    check: str
    pair: str

    def __str__(self) -> str:
        return f"{self.check or self.kind} at {self.pair}"


def identity(witness: Witness) -> Identity:
    """The failing task's last operation, and the last one that another task did before it; kind and check."""
    # By operations, not by headlines: these name pages and addresses, of which one bug has many. The operation of
    # another task is part of it, since one check may see several races of the same operation.
    failure = witness.failure
    mine = other = ""
    for event in witness.events:
        if event.kind == "op":
            if event.task == failure.task:
                mine = _spelt(event)
            else:
                other = _spelt(event)
    return Identity(failure.kind.value, failure.check or "", f"{mine} after {other}" if other else mine)


def _spelt(event: Event) -> str:
    return _NUMBER.sub("#", f"{event.what}({event.on})")
