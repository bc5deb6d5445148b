"""The catalogue's pages: one a bug, with its story and its interleaving, and one that lists them all."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from sugarbush.lockdep.outside import read_text, save_text
from sugarbush.stress.kit import WIDTH, Bug, drawn
from sugarbush.stress.report.proofs import PROOFS, Claim, claims, save_proofs, with_claim, write_claims
from sugarbush.stress.runs import Outcome, Proven

INDEX = "README.md"
_COLUMNS = 8
"""Up to the bar behind so many texts a row of the list comes from the hunt: the first text is empty."""
_NOTE = (
    "<!-- Made by `sugarbush catalogue --pages`; edit the file of the bug in stress/catalogue/ instead. -->"
)


def write_pages(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write ``NAME.md`` for each bug that was found, and the list of them all; what a clock says stays out.

    What the list in `folder` says of bugs that were not hunted this time, and that have a page there, stays in it; and
    what its file of proofs says stands on the pages. Raises `UnusableFile`.
    """
    proven = claims(folder)
    for outcome in outcomes:
        if outcome.found:
            name = outcome.bug.name
            save_text(folder / f"{name}.md", with_claim(page(outcome), proven.get(name)))
    _write_index(folder, {(outcome.bug.id, outcome.bug.name): _row(outcome) for outcome in outcomes}, proven)


def write_proofs(proven: Sequence[Proven], seconds: float, folder: Path) -> None:
    """Keep what was proven in the file of proofs in `folder`, and have the pages and the list there say it.

    Raises `UnusableFile`.
    """
    save_proofs(proven, seconds, folder)
    write_claims(folder)
    if (folder / INDEX).exists():
        _write_index(folder, {}, claims(folder))


def _write_index(folder: Path, rows: dict[tuple[str, str], str], proven: Mapping[str, Claim]) -> None:
    """The list: `rows`, and what it said before of other bugs that have a page."""
    rows = dict(rows)
    hunted = {name for _, name in rows}
    for row, number, name in _rows_of(folder / INDEX):
        if name not in hunted and (folder / f"{name}.md").exists():
            rows[number, name] = row
    said = [
        f"{row} {proven[name].cell if name in proven else '-'} |" for (_, name), row in sorted(rows.items())
    ]
    save_text(folder / INDEX, index(said))


def _rows_of(path: Path) -> Iterator[tuple[str, str, str]]:
    """The rows of a list that was written before, each with the number and the name of its bug."""
    if path.exists():
        for line in read_text(path).splitlines():
            found = re.match(r"\| ([^|]+) \| \[([^\]]+)\]\(", line)
            if found is not None:
                # Without the last column, of which the file of proofs decides.
                yield "|".join(line.split("|")[:_COLUMNS]) + "|", found[1], found[2]


def _row(outcome: Outcome) -> str:
    bug = outcome.bug
    after = outcome.executions if outcome.found else "by another check" if outcome.surprise else "not found"
    return (
        f"| {bug.id} | [{bug.name}]({bug.name}.md) | {bug.title} | {bug.year} | {bug.check or bug.kind.value} "
        f"| {after} | {_number(outcome.preemptions)} |"
    )


def index(rows: Sequence[str]) -> str:
    """The page that lists the bugs."""
    return "\n".join(
        [
            "# The catalogue of known bugs",
            "",
            _NOTE,
            "",
            "Each is a patch that brings the bug back into the model, and a workload. `sugarbush catalogue` hunts",
            "them all; `sugarbush run NAME` one, `sugarbush run NAME-fixed` the same workload without the patch.",
            "",
            "| id | bug | what | year | shown by | found after | preemptions | proven |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "*Found after*: executions under the default strategy from seed 1. *Preemptions*: of the minimised",
            "witness. *Proven*: within how many preemptions no schedule of the fixed form fails a check, and by how",
            "many traces (`all`: no schedule at all; `1 of 2`: the bug needs 2). `sugarbush catalogue --prove --pages`",
            f"measures it, and keeps in `{PROOFS}` by which sources, with a hash of each set of traces;",
            "a dash says that nothing is kept there.",
            "",
        ]
    )


def facts(bug: Bug) -> list[tuple[str, str]]:
    """What is known of a bug, as rows of a table."""
    means = [f"`{patch.name}`" for patch in bug.broken.patches]
    if bug.fixed.function is not bug.broken.function:
        means.append(f"`{bug.broken.function.__name__}` (right in `{bug.fixed.function.__name__}`)")
    package, _, module = bug.broken.function.__module__.rpartition(".")
    code = inspect.unwrap(bug.broken.function).__code__
    # As the repository has it, where the folders of the package lie at the top.
    folder = package.removeprefix("sugarbush.").replace(".", "/")
    file = f"{folder}/{module}.py" if package else Path(code.co_filename).name
    return [
        ("Number", bug.id),
        ("Name elsewhere", bug.cve or "none"),
        ("Year, versions", f"{bug.year}, {bug.versions}"),
        ("Fix", bug.fix),
        ("What we know", "read in the sources" if bug.evidence == "read" else bug.evidence),
        ("Brought back by", f"{', '.join(means)} in `{file}`"),
        ("Shown by", f"{bug.kind.value}, check `{bug.check}`" if bug.check else bug.kind.value),
        ("Tasks, preemptions that it needs", f"{_number(bug.tasks)}, {_number(bug.preemptions)}"),
    ]


def page(outcome: Outcome) -> str:
    """The page of one bug that was found."""
    bug, witness = outcome.bug, outcome.witness
    assert witness is not None
    found = f"execution {outcome.executions}, preemptions when minimised: {witness.preemptions}"
    return "\n".join(
        [
            f"# {bug.name}: {bug.title}",
            "",
            _NOTE,
            "",
            bug.story,
            "",
            "| | |",
            "| --- | --- |",
            *[f"| {name} | {value} |" for name, value in [*facts(bug), ("Found in", found)]],
            "",
            "## The interleaving",
            "",
            "```text",
            drawn(witness),
            "",
            *wrap(witness.failure.headline, WIDTH),
            "",
            f"schedule: {witness.schedule}",
            "```",
            "",
        ]
    )


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)
