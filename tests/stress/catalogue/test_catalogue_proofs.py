"""`sugarbush catalogue --prove`: what it says of both forms, and what the pages claim."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sugarbush.concurrency import READ_ONCE, Kind, Once, Shared, bug_on, check, join, spawn
from sugarbush.stress.cli.app import main
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.bugs import Bug, _bugs, bug, find_bug
from sugarbush.stress.kit.scenarios import _registered
from sugarbush.stress.report.pages import write_pages
from sugarbush.stress.runs import Hunt, Proving, hunted
from sugarbush.stress.runs import proof as proofs
from sugarbush.stress.runs.proven import Proven, prove_bug

registry.load()


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main(["catalogue", *map(str, arguments)])
    return int(left.value.code or 0)


def test_both_forms_are_told_with_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--prove", "dirty-cow", "--json") == 0
    out = capsys.readouterr().out
    assert (
        "dirty-cow: fails with 1 preemption, none of fewer; fixed form passed: every schedule with at most 1 "
        in out
    )
    told = json.loads(out.splitlines()[-1])
    assert told["sources"] == proofs.sources()
    (first,) = told["entries"]
    again = proofs.within(find_bug("dirty-cow").fixed, 1)
    assert first["broken"] == {
        "preemptions": 1,
        "least": True,
        "executions": first["broken"]["executions"],
        "open": "",
    }
    assert (first["fixed"]["passed"], first["fixed"]["within"]) == (True, 1)
    assert first["fixed"]["bounds"][1]["digest"] == again.digest


def test_a_depth_is_what_the_fixed_form_is_proven_within(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--prove", "vma-lock-order", "--depth", "1") == 0
    assert (
        "fails with 0 preemptions; fixed form passed: every schedule with at most 1 p"
        in capsys.readouterr().out
    )


def test_what_a_budget_leaves_unproven_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--prove", "Z15", "--seconds", "0.5", "--json") == 0
    out = capsys.readouterr().out
    assert "not passed: tree-dead-unordered-fixed: nothing proven: the budget ended within bound 0" in out
    (weak,) = json.loads(out.splitlines()[-1])["entries"]
    assert (weak["fixed"]["passed"], weak["fixed"]["bounds"]) == (False, [])


def test_a_budget_that_ends_leaves_it_open(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--prove", "uffd-wp-copy", "--seconds", "0.2") == 0
    out = capsys.readouterr().out
    assert "uffd-wp-copy: not found: the budget" in out
    assert (
        "1 bugs: 0 found, 0 of them with the fewest preemptions, 0 passed when fixed, 0 of them for every"
        in out
    )


class Cell(Shared):
    """What the tasks of the bugs here share."""

    n: Once[int]


def racing(wrong: int, *, alone: bool = True) -> Callable[[], Any]:
    """Fails if two reads, at a distance, see two values; `alone`: nothing else fails."""

    def program() -> None:
        cell = Cell(n=0)

        def reads() -> None:
            first, second = READ_ONCE(cell, "n"), READ_ONCE(cell, "n")
            check(first == second or second != wrong, "it has changed")

        def writes() -> None:
            cell.n = 1
            if not alone:
                bug_on(READ_ONCE(cell, "n") == 1, "something else")

        join(spawn(reads), spawn(writes))

    return program


@pytest.fixture
def own() -> Any:
    """Registers a bug for the length of a test."""
    kept = dict(_bugs), dict(_registered)

    def register(broken: Callable[[], Any], fixed: Callable[[], Any]) -> Bug:
        facts: dict[str, Any] = {
            "id": "X1", "title": "t", "year": 2026, "versions": "v", "fix": "f", "evidence": "read", "kind": Kind.CHECK
        }  # fmt: skip
        return bug("own-bug", fixed_program=fixed, observers=tuple, **facts)(broken)

    yield register
    for now, before in zip((_bugs, _registered), kept, strict=True):
        now.clear()
        now.update(before)


def proven(bug: Bug, **how: Any) -> Proven:
    return prove_bug(bug, Proving(60.0, **how))


def test_the_fewest_preemptions_are_found_and_the_fixed_form_is_passed_within_them(own: Any) -> None:
    one = proven(own(racing(1), racing(2)))
    assert (one.broken.preemptions, one.broken.least, one.passed, one.within) == (1, True, True, 1)


def test_a_fixed_form_that_fails_is_no_proof(own: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one = proven(own(racing(1), racing(1)))
    assert (one.passed, one.contradicts) == (False, True)
    assert run("--prove", "own-bug") == 1
    assert "not passed: own-bug-fixed: FAILS: " in capsys.readouterr().out


def test_a_broken_form_that_never_fails_is_not_found(own: Any) -> None:
    one = proven(own(racing(3), racing(2)))
    assert one.broken.words == "not found: no schedule shows it"
    # Nobody knows P: the fixed form is proven as far as it goes, which is no "passed within P".
    assert (one.within, one.complete) == (None, True)


def test_what_another_check_sees_first_is_no_proof_that_fewer_do_not_show_it(own: Any) -> None:
    one = proven(own(racing(1, alone=False), racing(2)))
    # Whoever writes is seen to have before the other has read twice, unless both are preempted.
    assert one.broken.preemptions == 2
    assert not one.broken.least
    assert "another check sees" in one.broken.words


def test_pages_claim_what_was_measured(tmp_path: Path) -> None:
    name = "vma-lock-order"
    page, index = tmp_path / f"{name}.md", tmp_path / "README.md"
    write_pages(list(hunted([find_bug(name)], Hunt(10))), tmp_path)
    assert "Proven" not in page.read_text()
    assert index.read_text().count("| 0 | - |") == 1
    assert run("--prove", name, "--pages", tmp_path) == 0
    said = page.read_text()
    assert (
        "| Proven | fixed form: every schedule with at most 0 preemptions, 1 traces. Broken form: fails"
        in said
    )
    assert proofs.sources()[:12] in said
    assert "| 0 | 0: 1 |" in index.read_text()
    # A hunt draws the pages anew, and keeps what was proven; so does a proof of another bug.
    write_pages(list(hunted([find_bug(name)], Hunt(10))), tmp_path)
    assert page.read_text() == said
    assert run("--prove", "fork-half-built", "--pages", tmp_path) == 0
    assert page.read_text() == said
    entries = json.loads((tmp_path / "proofs.json").read_text())["entries"]
    assert [one["name"] for one in entries] == [name, "fork-half-built"]
