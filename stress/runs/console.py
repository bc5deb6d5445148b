"""What all commands share: where they print, and how they refuse what nothing can be done with."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from sugarbush.concurrency import SugarbushError
from sugarbush.lockdep.outside import UnusableFile, check_writable, save_text, shown
from sugarbush.stress.kit import Marked, drawn, headline, loaded_files, timeline
from sugarbush.stress.runs.results import Case, junit, markdown
from sugarbush.stress.screen import line, out
from sugarbush.stress.witness import Found

DEFAULT_OUT = Path("sugarbush-out")
_LARGEST = 2**63 - 1
"""Of a number that only counts: what an artifact holds, and any other program can read."""
_MOST_JOBS = 1024
_MOST_SECONDS = 100_000_000.0
"""Three years. What no clock counts to, and no state of a campaign holds, is a mistake."""


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
        if found.witness.schedule.choices:
            lines.append(f"replay: {again('replay', found.path)}")
    return "\n".join(lines)


def check_results(junit_file: Path | None, summary_file: Path | None) -> None:
    """Refuse files that cannot be written before the work is done, not after it."""
    for option, path in (("--junit", junit_file), ("--summary", summary_file)):
        if path is not None:
            check_writable(path, option)


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


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not allowed."""
    if value not in allowed:
        raise Unusable(f"{option} {shown(value)}: there are {', '.join(allowed)}")


def whole(option: str, value: int | None, least: int = 0, most: int = _LARGEST) -> None:
    """Refuse a number that is too small or too large."""
    if value is not None and not least <= value <= most:
        few = f"above {least - 1}" if least == 1 else f"{least} or more"
        raise Unusable(f"{option} must be {few if value < least else f'at most {most}'}, not {shown(value)}")


def jobs_of(jobs: int) -> None:
    """Refuse a number of processes that no machine has room for."""
    if jobs < 1:
        raise Unusable(f"--jobs must be 1 or more, not {jobs}")
    whole("--jobs", jobs, 1, _MOST_JOBS)


def duration(option: str, seconds: float | None) -> None:
    """Refuse seconds that nobody can wait for; NaN compares as false with everything."""
    if seconds is None:
        return
    if not seconds > 0:
        raise Unusable(f"{option} must be above 0, not {seconds}")
    if math.isinf(seconds) or seconds > _MOST_SECONDS:
        raise Unusable(f"{option} must be at most {_MOST_SECONDS:.0f}, not {seconds}")
