"""The recipes of CONTRIBUTING.md, tried from their text: what they say is done to a copy of the repository, and tested.

What of the text is followed:

- a block of code belongs to the file that its first line names, as `# path/file.py`: a file of its own, or, with more
  words there, `before NAME`, `after the row of "name"`, or `instead of the function there`, for which
  `a, b and c come from room` are imported;
- a step names a file and, in backticks, an import, `"Name"` in `__all__`, a row in `TABLE` (first, or as the last), a
  member of `Class`; in double backticks, a row of a table or of a list, under the heading that it quotes or the first.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("concurrency", "docs", "lockdep", "pyproject.toml", "src", "stress", "tests", "tree", "vm")
RECIPES = 7


class Block(NamedTuple):
    path: str
    where: str
    code: str


class Recipe(NamedTuple):
    number: int
    title: str
    blocks: list[Block]
    steps: list[str]
    """Their prose, without the blocks."""


def recipes(text: str) -> list[Recipe]:
    found = []
    parts = re.split(r"^## (\d+)\. (.+)$", text, flags=re.MULTILINE)
    for number, title, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        # A block that names no file only shows something.
        blocks = [
            Block(named[1], named[2], code)
            for code in re.findall(r"^```python\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
            if (named := re.match(r"# ([\w./-]+\.py)(?:, )?(.*)\n", code))
        ]
        prose = re.sub(r"^```.*?^```$", "", body, flags=re.MULTILINE | re.DOTALL)
        steps = [" ".join(step.split()) for step in re.split(r"^\d+\. ", prose, flags=re.MULTILINE)[1:]]
        found.append(Recipe(int(number), title, blocks, steps))
    return found


# -- blocks -----------------------------------------------------------------------------------------------------------


def put(block: Block, folder: Path) -> None:
    """Write a block to the file that it names."""
    path = folder / block.path
    if not block.where:
        assert not path.exists(), f"{block.path} is there already"
        path.write_text(block.code, encoding="utf-8")
        return
    source = path.read_text(encoding="utf-8")
    code = block.code.partition("\n")[2]
    if named := re.match(r"before (\w+)", block.where):
        at = line_of(source, rf"{named[1]}\b")
        path.write_text(inserted(source, at, code + "\n\n"), encoding="utf-8")
    elif named := re.match(r'after the row of "([^"]+)"', block.where):
        path.write_text(inserted(source, end_of_row(source, named[1]), code), encoding="utf-8")
    else:
        assert block.where.startswith("instead of the function there"), block.where
        (function,) = [one for one in ast.parse(code).body if isinstance(one, ast.FunctionDef)]
        old = next(one for one in ast.parse(source).body if getattr(one, "name", "") == function.name)
        lines = source.splitlines(keepends=True)
        lines[old.lineno - 1 : old.end_lineno] = [code]
        source = "".join(lines)
        if come := re.search(r"; (.+) come from (\w+)", block.where):
            names = re.sub(r",? and ", ", ", come[1])
            floor = block.path.partition("/")[0]
            source = imported(source, f"from sugarbush.{floor}.{come[2]} import {names}")
        path.write_text(source, encoding="utf-8")


def line_of(source: str, pattern: str) -> int:
    return next(n for n, line in enumerate(source.splitlines()) if re.match(pattern, line))


def inserted(source: str, at: int, code: str) -> str:
    """The source with `code` before its line `at`, counted from 0."""
    lines = source.splitlines(keepends=True)
    return "".join([*lines[:at], code, *lines[at:]])


def end_of_row(source: str, name: str) -> int:
    """The number of the line after the row of a table that begins with `name`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Tuple | ast.List):
            for row in node.elts:
                first = row.args[0] if isinstance(row, ast.Call) and row.args else row
                if isinstance(first, ast.Constant) and first.value == name and row is not first:
                    assert row.end_lineno is not None
                    return row.end_lineno
    raise AssertionError(f"no row begins with {name!r}")


def table_lines(source: str, name: str) -> tuple[int, int]:
    """The numbers of the first line and the last one of an assignment; `inserted` puts a row behind the first."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == name:
                assert node.end_lineno is not None
                return node.lineno, node.end_lineno
    raise AssertionError(f"nothing is called {name}")


def imported(source: str, line: str) -> str:
    """The source with one import more, before its first one of ours."""
    return inserted(source, line_of(source, "from sugarbush"), line + "\n")


# -- steps ------------------------------------------------------------------------------------------------------------


def follow(step: str, recipe: Recipe, folder: Path) -> None:
    """Make the little edits that the prose of a step names."""
    named = re.search(r"`([\w./-]+\.(?:py|md))`", step)
    if named is None or not (folder / named[1]).is_file():
        return
    path = folder / named[1]
    source = path.read_text(encoding="utf-8")
    rows = re.findall(r"``[ ]?([-|].+?)[ ]?``", step)
    single = re.sub(r"``.+?``", "", step)
    if path.suffix == ".md":
        heading = re.search(r'under "([^"]+)"', step)
        for row in rows:
            source = listed(source, row, heading[1] if heading else "")
    else:
        source = edited(source, single, recipe)
        ast.parse(source)
    path.write_text(source, encoding="utf-8")


def edited(source: str, step: str, recipe: Recipe) -> str:
    for line in re.findall(r"`(from sugarbush[^`]+)`", step):
        source = imported(source, line)
    new = recipe.blocks[0]
    public = re.findall(r"^(?:class|def) ([A-Za-z]\w*)", new.code, re.MULTILINE)
    if "import it" in step:
        module = "sugarbush." + new.path.removesuffix(".py").replace("/", ".")
        source = imported(source, f"from {module} import {', '.join(public)}")
    exported = re.findall(r'`"(\w+)"` in `__all__`', step)
    if "its name in `__all__`" in step:
        exported += public
    for name in exported:
        source = inserted(source, line_of(source, "__all__ = ") + 1, f'    "{name}",\n')
    for table, where, row in re.findall(r"row in `(\w+)`([^`:]*): `([^`]+)`", step):
        first, last = table_lines(source, table)
        source = inserted(source, last - 1 if "last" in where else first, f"    {row.rstrip(',')},\n")
    for name, member in re.findall(r"member of `(\w+)`, `([^`]+)`", step):
        of = next(one for one in ast.parse(source).body if getattr(one, "name", "") == name)
        assert isinstance(of, ast.ClassDef)
        source = inserted(source, of.body[0].end_lineno or 0, f"\n    {member}\n")
    return source


def listed(source: str, row: str, heading: str) -> str:
    """A page with one row more in the first table or list below a heading."""
    lines = source.splitlines()
    begin = next((n for n, line in enumerate(lines) if line.startswith("#") and heading in line), None)
    assert begin is not None, f"no heading says {heading!r}"
    first = "| ---" if row.startswith("|") else "- "
    at = next((n for n in range(begin, len(lines)) if lines[n].startswith(first)), None)
    assert at is not None, f"nothing below {heading!r} is like {row}"
    return "\n".join([*lines[: at + 1], row, *lines[at + 1 :], ""])


# -- trying them ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which all recipes have been followed, in their order."""
    if not (ROOT / ".git").exists():
        pytest.skip("the files to copy are those that git knows")
    copy = tmp_path_factory.mktemp("recipes")
    # What is not committed yet counts: somebody is just writing it.
    known = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard", *COPIED],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, known):
        if os.path.lexists(ROOT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    for recipe in of_the_text():
        for block in recipe.blocks:
            put(block, copy)
        for step in recipe.steps:
            follow(step, recipe, copy)
    return copy


def of_the_text() -> list[Recipe]:
    return recipes((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(folder / "src")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def own_tests(recipe: Recipe) -> Iterator[str]:
    return (block.path for block in recipe.blocks if Path(block.path).name.startswith("test_"))


def test_each_recipe_has_its_code_and_its_test() -> None:
    found = of_the_text()
    assert [one.number for one in found] == list(range(1, RECIPES + 1))
    for one in found:
        assert one.blocks, one.title
        # The test of a bug is a command: the suite hunts whatever lies in the catalogue.
        assert [*own_tests(one)] or any("`sugarbush catalogue " in step for step in one.steps), one.title


def test_the_tests_of_all_recipes_pass_where_the_recipes_were_followed(folder: Path) -> None:
    tests = [path for recipe in of_the_text() for path in own_tests(recipe)]
    # What a primitive and a strategy need beside their code: door, documentation, programs for the audit.
    house = [
        "tests/house/test_primitives.py",
        "-k",
        "test_primitives.py and (latch or sticky) or not test_primitives.py",
    ]
    done = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests, *house)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > len(tests) + 1


def test_the_adversary_takes_up_what_a_primitive_declares(folder: Path) -> None:
    paths = os.pathsep.join(str(folder / name) for name in ("src", "tests/concurrency", "tests/adversary"))
    said = subprocess.run(
        [sys.executable, "-c", "import adversary_generate as it; print(it.declaring())"],
        cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said == "['wait']\n"
    chosen = ("-k", "declare or same_in_every_run")
    done = run(
        folder,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "tests/adversary/test_adversary.py",
        *chosen,
    )
    assert done.returncode == 0, done.stdout


def test_the_bug_is_found_and_its_fixed_form_is_clean(folder: Path) -> None:
    (words,) = {
        found[1] for one in of_the_text() for step in one.steps
        if (found := re.match(r"`sugarbush (catalogue [\w-]+)`", step))
    }  # fmt: skip
    done = run(folder, "sugarbush", *words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 found, 1 clean when fixed" in done.stdout


@pytest.mark.exhaustive
def test_a_check_that_a_recipe_adds_leaves_the_recorded_schedules_clean(folder: Path) -> None:
    index = run(folder, "sugarbush.stress.cli.index")
    assert index.returncode == 0, index.stderr
    done = run(
        folder, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/stress/cli/test_startup.py",
        "tests/stress/witness/test_recorded_schedules.py", "tests/concurrency/runtimes/test_audit.py",
        "tests/adversary/test_adversary_complete.py", "tests/house/test_primitives.py",
        "tests/house/test_exports.py", "tests/house/test_style.py", "tests/house/test_cycles.py",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_what_is_followed_is_what_the_text_says(tmp_path: Path) -> None:
    source = (
        'from sugarbush.x import Y\n\n__all__ = [\n    "Y",\n]\n'
        'ROWS = (\n    Row(\n        "one",\n        1,\n    ),\n)\n'
    )
    file = tmp_path / "part.py"
    for where, changed in (
        ("before ROWS", source.replace("ROWS", "new = 1\n\n\nROWS")),
        ('after the row of "one"', source.replace("    ),\n)", "    ),\nnew = 1\n)")),
    ):
        file.write_text(source)
        put(Block("part.py", where, "# part.py\nnew = 1\n"), tmp_path)
        assert file.read_text() == changed
    recipe = Recipe(1, "", [Block("a/b.py", "", "class Cat: ...\n")], [])
    step = '`part.py`: import it, and `"Cat"` in `__all__`, and a row in `ROWS`: `Row("two"),`.'
    last = step.replace("in `ROWS`:", "in `ROWS`, as the last:")
    assert edited(source, last, recipe).endswith('    ),\n    Row("two"),\n)\n')
    assert edited(source, step, recipe) == (
        "from sugarbush.a.b import Cat\n"
        + source.replace("[\n", '[\n    "Cat",\n').replace("ROWS = (\n", 'ROWS = (\n    Row("two"),\n')
    )
    assert listed("# A\n\n| x |\n| --- |\n| 1 |\n", "| 2 |", "A") == "# A\n\n| x |\n| --- |\n| 2 |\n| 1 |\n"
