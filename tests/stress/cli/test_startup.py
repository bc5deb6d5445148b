"""What the command line loads before it answers, and that what it says without loading is what is so."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sugarbush.stress.cli import index
from sugarbush.stress.cli.lazy import COMMANDS, Command, loaded
from sugarbush.stress.kit import registry
from sugarbush.stress.screen import laid_out

HEAVY = (
    "greenlet",
    "hypothesis",
    "jinja2",
    "jsonschema",
    "lark",
    "loguru",
    "networkx",
    "psutil",
    "pydantic",
    "sugarbush.concurrency",
    "sugarbush.lockdep.engine",
    "sugarbush.stress.catalogue",
    "sugarbush.stress.kit",
    "sugarbush.tree",
    "sugarbush.vm",
)


def loaded_by(*words: str) -> list[str]:
    """The heavy modules that the command has loaded when it ends."""
    program = (
        "import json, sys, atexit\n"
        f"atexit.register(lambda: print(json.dumps([one for one in {(*HEAVY, 'rich')!r} if one in sys.modules]),"
        " file=sys.stderr))\n"
        "from sugarbush.stress.__main__ import main\n"
        f"sys.argv = ['sugarbush', *{words!r}]\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert len(done.stdout.splitlines()) > 2
    return list(json.loads(done.stderr.splitlines()[-1]))


def test_the_help_loads_nothing_that_it_does_not_need() -> None:
    assert loaded_by("--help") == []


def test_the_list_loads_only_what_lays_it_out() -> None:
    assert loaded_by("list") == ["rich"]


def test_a_command_that_works_loads_what_it_works_with() -> None:
    # Else the two above could not fail.
    assert "sugarbush.vm" in loaded_by("list", "brk-standard")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_the_help_says_of_a_command_what_the_command_says(command: Command) -> None:
    made = loaded(command.name)
    assert made.help == command.summary
    assert isinstance(made, typer.core.TyperCommand)


def test_whatever_the_index_says_stands_in_a_file_that_it_is_a_digest_of() -> None:
    """Else a word could change, and the index of before would be believed."""
    sources = [path.read_text(encoding="utf-8") for path in index.sources()]
    # A text that Python puts together of several lines is one constant; a summary may be a docstring's first sentence.
    texts = {
        " ".join(node.value.split())
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    registry.load()
    found = index.listed()
    for said in (*found.checks.values(), *(one.summary for one in found.scenarios)):
        assert any(said in text for text in texts), f"{said!r} stands in no file of index.sources()"


def test_the_index_is_of_these_scenarios() -> None:
    registry.load()
    found = index.indexed()
    assert found is not None, (
        "run `python -m sugarbush.stress.cli.index`: a scenario, a bug or a check has changed"
    )
    assert found.checks == index.listed().checks
    built_in = {one.name: one for one in index.listed().scenarios}
    assert [built_in[one.name] for one in found.scenarios] == found.scenarios


@pytest.mark.parametrize(
    "kept", [None, "", "{", "[]", '{"digest": 1}', '{"digest": 1, "scenarios": [], "checks": {}}']
)
def test_an_index_of_other_sources_is_not_believed(
    kept: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "scenarios.json"
    if kept is not None:
        path.write_text(kept)
    monkeypatch.setattr(index, "INDEX", path)
    assert index.indexed() is None


def test_each_source_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = index.digest()
    (tmp_path / "catalogue").mkdir()
    one = tmp_path / "catalogue" / "one.py"
    one.write_text("a = 1\n")
    monkeypatch.setattr(index, "_STRESS", tmp_path)
    first = index.digest()
    one.write_text("a = 2\n")
    second = index.digest()
    one.rename(one.with_name("two.py"))
    assert len({before, first, second, index.digest()}) == 4


def test_scenarios_of_the_users_own_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from sugarbush.stress.kit import scenario\n"
        "@scenario('aaa-mine', era='6.1')\n"
        "def mine() -> None:\n"
        "    'Mine alone.'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "sugarbush", "--load", str(file), "list"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.stdout.splitlines()[1].split() == ["aaa-mine", "6.1", "clean", "Mine", "alone."]
    assert "brk-standard" in done.stdout


def test_tables_are_laid_out_as_rich_does_it() -> None:
    random = Random(1)
    laid = 0
    for _ in range(300):
        columns = random.randint(2, 4)
        header = ["h" * random.randint(1, 9) for _ in range(columns)]
        rows = [
            ["w" * random.randint(1, 12) for _ in range(columns - 1)]
            + [" ".join("x" * random.randint(1, 14) for _ in range(random.randint(1, 12)))]
            for _ in range(random.randint(1, 5))
        ]
        width = random.randint(10, 110)
        found = laid_out(header, rows, width)
        if found is None:
            continue
        laid += 1
        written = io.StringIO()
        made = Table(*header, box=None, pad_edge=False)
        for row in rows:
            made.add_row(*(Text(cell) for cell in row))
        Console(file=written, width=width, highlight=False).print(made)
        assert found == written.getvalue().splitlines()
    assert laid > 150
