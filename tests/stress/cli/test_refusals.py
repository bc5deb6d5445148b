"""Every row of the tables of refusals: a command line that it refuses, and that no other row would."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sugarbush.concurrency import SugarbushError
from sugarbush.stress.cli import refusals
from sugarbush.stress.cli.lazy import COMMANDS, loaded
from sugarbush.stress.cli.refusals import FILES, INPUTS, TOGETHER, VALUES, Asked, Refusal

command_of = cache(loaded)
NEEDED = {
    "replay": "x.json",
    "minimise": "x.json",
    "report": "x.json",
    "prove": "brk-standard",
    "litmus": "x",
    "lockdep": "x.log",
}
"""An argument for commands that ask for one."""
BAD = {
    "runtime": "gpu", "strategy": "magic", "memory": "tso", "schedules": "0", "seconds": "nan", "depth": "1001",
    "seed": "-1", "faults": "-1", "jobs": "1025", "without": "gravity", "until": "-1", "graph": "x.png",
}  # fmt: skip
LINES = (
    "run brk-standard --runtime threaded --memory weak",
    "run brk-standard --runtime threaded --depth 3",
    "run brk-standard --seconds 1 --schedules 1",
    "run brk-standard --executor tcp://here:1 --jobs 2",
    "run --resume . --seed 1",
    f"run brk-standard --out {__file__}",
    "run",
    "prove brk-standard --executor tcp://here:1 --jobs 2",
    "prove brk-standard --verify --seconds 3",
    "catalogue --prove --seed 3",
    "catalogue --depth 3",
    "report . --perfetto x.json",
    "lockdep x.log --json --chains",
    "lockdep x.log --identity circular-0",
    "lockdep x.log --between a b --json",
    "lockdep x.log --across",
)
"""One for each row of `TOGETHER`, in its order."""
ASKED = (
    {"executor": "tcp://here:1", "runtime": "threaded"},
    {"certificate": Path("x"), "proven": 2, "bound": 2},
    {"artifact": Path(__file__), "written": (None, Path(__file__))},
    {"as_logs": True, "others": 1, "for_logs": False},
    {"as_logs": False, "others": 0, "for_logs": True},
)
"""Facts for each row of `INPUTS`, in its order."""


def asked(command: str, words: list[str]) -> Asked:
    """What click makes of a command line."""
    with command_of(command).make_context(command, [*words]) as context:
        return Asked.of(context)


def sentence(command: str, words: list[str]) -> str:
    """Why a command line is refused; empty if it is not."""
    try:
        refusals.refuse(command, asked(command, words))
    except SugarbushError as error:
        return str(error)
    return ""


def line(command: str, option: str, value: str) -> list[str]:
    """A command line with one option, by its name in Python."""
    spelt = next(one for one in command_of(command).params if one.name == option).opts
    there = "brk-standard" if command == "run" else NEEDED.get(command)
    if command == "catalogue" and option in ("seconds", "depth"):
        there = "--prove"
    return [*([there] if there else []), max(spelt, key=len), value]


@pytest.mark.parametrize(
    ("command", "option"), [(command, row.option) for row in VALUES for command in row.commands]
)
def test_a_value_that_cannot_be_used_is_refused_by_its_row(
    command: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = line(command, option, BAD[option])
    said = sentence(command, words)
    assert said.startswith(words[-2])
    # What is allowed is said: the words there are, or the limit.
    assert any(
        part in said for part in ("there are ", " or more", "above 0", "at most ", "writes .dot or .svg")
    )
    rest = tuple(row for row in VALUES if (row.option, command in row.commands) != (option, True))
    monkeypatch.setattr(refusals, "VALUES", rest)
    monkeypatch.setattr(refusals, "FILES", ())
    assert sentence(command, words) == ""


@pytest.mark.parametrize(("row", "words"), [*zip(TOGETHER, LINES, strict=True)], ids=LINES)
def test_options_that_do_not_go_together_are_refused_by_their_row(
    row: Refusal, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, *rest = words.split()
    assert row.command == command
    head, _, tail = row.sentence.partition("{}")
    said = sentence(command, rest)
    assert said.startswith(head)
    assert said.endswith(tail)
    monkeypatch.setattr(refusals, "TOGETHER", tuple(one for one in TOGETHER if one is not row))
    monkeypatch.setattr(refusals, "FILES", ())
    assert sentence(command, rest) == ""


@pytest.mark.parametrize(
    ("command", "option"), [(command, row.option) for row in FILES for command in row.commands]
)
def test_a_file_of_results_is_tried_before_the_work(
    command: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    words = line(command, option, str(tmp_path / "file" / "x.svg"))
    assert "cannot be written" in sentence(command, words)
    monkeypatch.setattr(refusals, "FILES", ())
    assert sentence(command, words) == ""


@pytest.mark.parametrize(("row", "facts"), [*zip(INPUTS, ASKED, strict=True)])
def test_what_the_words_name_is_refused_by_its_row(row: Refusal, facts: dict[str, Any]) -> None:
    head, _, _ = row.sentence.partition("{}")
    with pytest.raises(SugarbushError) as caught:
        refusals.refuse_inputs(row.command, **facts)
    assert str(caught.value).startswith(head)
    assert "{" not in str(caught.value)


@pytest.mark.parametrize("command", [one.name for one in COMMANDS if one.name != "list"])
def test_a_sound_command_line_is_refused_by_no_row(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = "brk-standard" if command == "run" else NEEDED.get(command)
    assert sentence(command, [there] if there else []) == ""


def test_no_number_is_without_a_limit() -> None:
    """Without a row it would be taken, however large, and what is made of it fails later and elsewhere."""
    rows = {(command, row.option) for row in VALUES for command in row.commands}
    numbers = {
        (one.name, option)
        for one in COMMANDS
        for option, annotation in command_of(one.name).callback.__wrapped__.__annotations__.items()
        if option != "return"
        and ("int" in str(annotation).split(",")[0] or "float" in str(annotation).split(",")[0])
    }
    # What a depth of `run` counts, and how far it goes, is for the strategy to say.
    assert numbers - rows == {("run", "depth")}
    assert len(numbers) > 9
