"""The catalogue's pages: one a bug, with its story and its interleaving, and one that lists them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from lockdep.files import save_text
from stress.bug import Bug
from stress.hunt import Outcome
from stress.timeline import WIDTH, drawn

INDEX = "README.md"
_NOTE = (
    "<!-- Made by `sugarbush catalogue --pages`; edit the file of the bug in stress/catalogue/ instead. -->"
)


def write_pages(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write ``NAME.md`` for each bug that was found, and the list of them all; what a clock says stays out.

    Raises `UnusableFile`.
    """
    for outcome in outcomes:
        if outcome.found:
            save_text(folder / f"{outcome.bug.name}.md", page(outcome))
    save_text(folder / INDEX, index(outcomes))


def index(outcomes: Sequence[Outcome]) -> str:
    """The page that lists the bugs."""
    rows = [
        f"| {bug.id} | [{bug.name}]({bug.name}.md) | {bug.title} | {bug.year} | {bug.check or bug.kind.value} "
        f"| {outcome.executions if outcome.found else 'not found'} | {_number(outcome.preemptions)} |"
        for outcome in outcomes
        for bug in [outcome.bug]
    ]
    return "\n".join(
        [
            "# The catalogue of known bugs",
            "",
            _NOTE,
            "",
            "Each is a patch that brings the bug back into the model, and a workload. `sugarbush catalogue` hunts",
            "them all; `sugarbush run NAME` one, `sugarbush run NAME-fixed` the same workload without the patch.",
            "",
            "| id | bug | what | year | shown by | found after | preemptions |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "*Found after*: executions under the default strategy from seed 1. *Preemptions*: of the minimised",
            "witness.",
            "",
        ]
    )


def facts(bug: Bug) -> list[tuple[str, str]]:
    """What is known of a bug, as rows of a table."""
    patches = ", ".join(f"`{patch.name}`" for patch in bug.broken.patches)
    file = f"stress/catalogue/{bug.broken.function.__module__.rpartition('.')[2]}.py"
    return [
        ("Number", bug.id),
        ("Name elsewhere", bug.cve or "none"),
        ("Year, versions", f"{bug.year}, {bug.versions}"),
        ("Fix", bug.fix),
        ("What we know", "read in the sources" if bug.evidence == "read" else bug.evidence),
        ("Brought back by", f"{patches} in `{file}`"),
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
