"""What all commands share: where they print, and how they refuse what nothing can be done with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from stress.campaign import Found
from stress.results import Case, junit, markdown, write
from stress.timeline import Marked, drawn, headline, timeline

DEFAULT_OUT = Path("sugarbush-out")
_PIPE_WIDTH = 120
out = Console(highlight=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = _PIPE_WIDTH


class Unusable(Exception):
    """Input that nothing can be done with; the message is the one line that the user sees."""


def line(text: str) -> None:
    """Print text as it is, without wrapping: schedules and paths are copied from here."""
    out.print(Text(text), soft_wrap=True)


def print_found(found: Found, marked: Marked = frozenset()) -> None:
    """A witness for a person: the timeline, the failure, and how to go on."""
    witness = found.witness
    if witness.events:
        out.print(timeline(witness, marked=marked))
        out.print()
    out.print(headline(witness.failure), soft_wrap=True)
    if witness.failure.detail:
        line(witness.failure.detail.strip("\n"))
    out.print()
    if witness.schedule.choices:
        line(f"schedule: {witness.schedule}")
    if found.path is None:
        line(f"not saved: {found.problem}")
    else:
        line(f"saved:    {found.path}")
        if witness.schedule.choices:
            line(f"replay:   sugarbush replay {found.path}")
        if witness.schedule.choices and not marked:
            line(f"simplify: sugarbush minimise {found.path}")
    out.print()


def told(found: Found) -> str:
    """A witness as plain text, for a file."""
    failure = found.witness.failure
    lines = [failure.headline, f"in task {failure.task} at operation {failure.step}"]
    if found.witness.events:
        lines = [drawn(found.witness), "", *lines]
    if failure.detail:
        lines.append(failure.detail.strip("\n"))
    if found.witness.schedule.choices:
        lines.append(f"schedule: {found.witness.schedule}")
    if found.path is not None:
        lines.append(f"saved: {found.path}")
    return "\n".join(lines)


def write_results(
    cases: Sequence[Case], title: str, junit_file: Path | None, summary_file: Path | None
) -> None:
    """Write the files that were asked for."""
    for path, text in ((junit_file, junit), (summary_file, markdown)):
        if path is not None:
            try:
                write(path, text(title, cases))
            except OSError as error:
                raise Unusable(f"{path} cannot be written: {error.strerror}") from None


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not allowed."""
    if value not in allowed:
        raise Unusable(f"{option} {value!r}: there are {', '.join(allowed)}")
