"""A schedule: all choices of one execution, and its text form.

Text form, one token a choice, in the order in which they were made, with commas between:

- ``2*17``: task 2 goes on and announces 17 operations before another task is chosen (``2`` alone means ``2*1``);
- ``=1``: value 1 was chosen for something that is not a task (which allocation fails, say), in the segment before it.

The text starts with the version of this form, so that a later one can be told from it:

>>> schedule = Schedule.parse("s1:0*12,1*3,=1,0*5")
>>> schedule.choices[1:3]
(Segment(task=1, length=3), Datum(value=1))
>>> schedule.switches
2
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sugarbush.concurrency.core.failure import BadSchedule

VERSION = "s1:"
# The digits are limited, since a schedule may come from a file of somebody else: int() of more than 4,300 digits
# raises a ValueError of its own. ASCII, because without it \d stands for the digits of all scripts.
_TOKEN = re.compile(r"(\d{1,9})(?:\*(\d{1,12}))?|=(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Segment:
    """Task `task` announces `length` operations without another task running between."""

    task: int
    length: int

    def __str__(self) -> str:
        return str(self.task) if self.length == 1 else f"{self.task}*{self.length}"


@dataclass(frozen=True, slots=True)
class Datum:
    """A choice that is not a task."""

    value: int

    def __str__(self) -> str:
        return f"={self.value}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """All choices of one execution, in order."""

    choices: tuple[Segment | Datum, ...]

    def __str__(self) -> str:
        return VERSION + ",".join(map(str, self.choices))

    @property
    def switches(self) -> int:
        """How often another task goes on: one less than there are segments."""
        return max(0, sum(isinstance(choice, Segment) for choice in self.choices) - 1)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read the text form; raises `BadSchedule` with the token that is wrong."""
        if not text.startswith(VERSION):
            raise BadSchedule(f"a schedule starts with {VERSION!r}, not {text[:12]!r}")
        choices: list[Segment | Datum] = []
        body = text[len(VERSION) :].strip()
        for token in body.split(",") if body else ():
            match = _TOKEN.fullmatch(token.strip())
            if match is None:
                raise BadSchedule(
                    f"{token[:24]!r} is no choice of a schedule: write TASK, TASK*LENGTH or =VALUE"
                )
            task, length, value = match.groups()
            if value is not None:
                choices.append(Datum(int(value)))
            else:
                choices.append(Segment(int(task), 1 if length is None else int(length)))
        return cls(tuple(choices))
