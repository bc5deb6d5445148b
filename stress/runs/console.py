"""What all commands share: how they print a witness, and the files of results that they write."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from sugarbush.concurrency import SugarbushError
from sugarbush.lockdep.outside import UnusableFile, save_text
from sugarbush.stress.kit import Marked, drawn, headline, loaded_files, timeline
from sugarbush.stress.runs.results import Case, junit, markdown
from sugarbush.stress.screen import line, out
from sugarbush.stress.witness import Found

DEFAULT_OUT = Path("sugarbush-out")


class Unusable(SugarbushError):
    """Input that nothing can be done with; the message is the one line that the user sees."""


def again(command: str, *words: str | Path) -> str:
    """The line that a user may copy: with the files that know the scenario, and quoted for a shell."""
    files = [word for file in loaded_files() for word in ("--load", file)]
    # A relative path that begins with a dash would be taken for an option.
    last = [
        f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words
    ]
    return shlex.join(["sugarbush", *files, command, *last])


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
            line(f"replay:   {again('replay', found.path)}")
        if witness.schedule.choices and not marked:
            line(f"simplify: {again('minimise', found.path)}")
    out.print()


def as_text(found: Found) -> str:
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
        if found.witness.schedule.choices:
            lines.append(f"replay: {again('replay', found.path)}")
    return "\n".join(lines)


def write_results(
    cases: Sequence[Case], title: str, junit_file: Path | None, summary_file: Path | None
) -> str:
    """Write the files that were asked for; gives what went wrong, since the rest of the results is still to be said."""
    problems = []
    for path, text in ((junit_file, junit), (summary_file, markdown)):
        if path is not None:
            try:
                save_text(path, text(title, cases))
            except UnusableFile as error:
                problems.append(str(error))
    return "; ".join(problems)
