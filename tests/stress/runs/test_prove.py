"""Proofs: what the bounded reduced search says of the model with all checks on, and the certificates of that."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sugarbush.concurrency import Failure, Kind, Task
from sugarbush.concurrency.lowlevel import Observer, Operation, RandomWalk, audit, quiet
from sugarbush.concurrency.search import Processes
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.dfs import DepthFirst
from sugarbush.stress.cli.app import main
from sugarbush.stress.cli.commands.run import DEFAULT_SCHEDULES, _default
from sugarbush.stress.kit import checks, registry, sight
from sugarbush.stress.kit.bugs import Bug, all_bugs
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import Scenario, find_scenario
from sugarbush.stress.runs import proof
from sugarbush.stress.runs.proof import prove, within
from sugarbush.vm.checks import LockOrder, coverage, interval_tree
from sugarbush.vm.frames import page_alloc

registry.load()


def ends(scenario: Scenario, search: DepthFirst | BoundedDPOR) -> set[str]:
    """How the executions of a search end: by which failures, or "fine"."""
    found = set()
    with applied(scenario.patches):
        runtime = scenario.settings().runtime(search)
        while search.left:
            with contextlib.suppress(Pruned):
                failure = runtime.run(scenario.program).failure
                found.add("fine" if failure is None else f"{failure.kind.value} {failure.check}")
    return found


@pytest.mark.parametrize(
    "name",
    ["fork-half-built", "vma-lock-order", "munmap-downgrade-stack", "munmap-downgrade-stack-fixed"],
)
def test_a_bug_of_the_catalogue_ends_as_under_plain_search(name: str) -> None:
    scenario = find_scenario(name)
    assert ends(scenario, BoundedDPOR(1)) == ends(scenario, DepthFirst(1))


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "name",
    [
        f"{name}{form}"
        for name in (
            "brk-after-downgrade",
            "dirty-cow",
            "dontneed-against-numa",
            "exec-stack-migration",
            "merge-page-prot",
            "mremap-flush",
            "mremap-rmap-order",
            "remap-file-pages",
            "stack-grows-in-place",
            "vma-adjust-no-lock",
            "vma-expand-no-lock",
        )
        for form in ("", "-fixed")
    ],
)
def test_so_do_those_that_take_longer(name: str) -> None:
    scenario = find_scenario(name)
    assert ends(scenario, BoundedDPOR(1)) == ends(scenario, DepthFirst(1))


# -- what checks look at ----------------------------------------------------------------------------------------------


class Everywhere(checks.ModelChecks):
    """Looks at all instances of the invariants of rmap after every operation; the rows of the table are not asked."""

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """Looks at all of them, whatever the last operation was."""
        machine = self._machine()
        with quiet():
            wrong = {"coverage": coverage(machine.mms, machine.memory)}
            for vma in self._view.adjusted:
                wrong["interval-tree"] = wrong.get("interval-tree") or interval_tree(vma)
        assert self._runtime is not None
        for check, said in wrong.items():
            if said and check not in self._runtime.without:
                raise Failure(Kind.INVARIANT, f"{check}: {said}", check=check)
        super().announced(task, op, obj)


@pytest.mark.parametrize(
    "name", ["brk-false-vma", "vma-adjust-no-lock", "split-invalidate", "mremap-flush-fixed"]
)
def test_looking_where_something_changed_finds_what_looking_everywhere_finds(name: str) -> None:
    scenario = find_scenario(name)
    found = []
    for looks in (checks.ModelChecks, Everywhere):
        settings = replace(scenario.settings(), observers=lambda looks=looks: (LockOrder(), looks()))
        runtime = settings.runtime(RandomWalk(1))
        with applied(scenario.patches):
            runs = [runtime.run(scenario.program) for _ in range(15)]
        found.append([(run.steps, str(run.failure and run.failure.headline)) for run in runs])
    assert found[0] == found[1]


def test_the_sight_says_the_same_from_both_sides() -> None:
    for one, sees in sight._SEES.items():
        for other in sight._SEES:
            assert bool(sees & other) is bool(sight._SEES[other] & one)


@pytest.fixture
def blind() -> Iterator[None]:
    """The checks say that they see nothing."""
    kept = dict(sight._SEES)
    sight._SEES.update(dict.fromkeys(kept, 0))
    yield
    sight._SEES.update(kept)


@pytest.mark.usefixtures("blind")
def test_a_check_that_does_not_say_what_it_looks_at_is_found_by_the_audit() -> None:
    scenario = find_scenario("brk-standard")
    found = audit(scenario.program, executions=2, settings=scenario.settings(), keep_going=True).found
    assert any(said.startswith("a check looks at ") for said in found)
    assert "what is said of operations or checks does not hold: a check looks at" in prove(scenario, 60).words


def test_a_page_that_is_said_to_be_named_by_no_entry_is_found_by_the_audit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Here a frame is freed while an entry names it still.
    scenario = find_scenario("vma-expand-no-lock")

    def of_checks() -> list[str]:
        with applied(scenario.patches):
            found = audit(scenario.program, executions=2, settings=scenario.settings(), keep_going=True).found
        return [said for said in found if said.startswith("a check looks at ")]

    assert not of_checks()

    def never(_checks: object, _page: object) -> bool:
        return False

    monkeypatch.setattr(checks.ModelChecks, "is_named", never)
    assert of_checks()


def test_an_operation_that_says_too_little_is_found_before_anything_is_proven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_alloc.ALLOC_FRAME, "touches", lambda *_: [])
    said = prove(find_scenario("brk-standard"), 60).words
    assert said.startswith("nothing proven: what is said of operations or checks does not hold")


class Nosy(Observer):
    """Looks at something after every operation, and says of nothing what it is."""

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """See `Observer.announced`."""


def test_a_check_that_says_nothing_of_what_it_looks_at_leaves_the_proof_open() -> None:
    scenario = find_scenario("fork-half-built-fixed")
    nosy = replace(scenario, observers=lambda: (*scenario.observers(), Nosy()))
    assert "does not say at what" in prove(nosy, 60).words
    assert within(nosy, 0).verdict == "inconclusive"
    assert within(scenario, 0).verdict == "passed"


# -- the command ------------------------------------------------------------------------------------------------------


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_a_proof_is_resumed_and_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "vma-lock-order-fixed"
    assert run("prove", name, "--depth", "0", "--jobs", "1", "--out", tmp_path) == 0
    assert (
        "vma-lock-order-fixed: passed: every schedule with at most 0 preemptions; 1 traces"
        in capsys.readouterr().out
    )
    path = tmp_path / f"{name}.proof.json"
    first = json.loads(path.read_text())["bounds"]
    assert run("prove", name, "--depth", "1", "--out", tmp_path, "--json") == 0
    bounds = json.loads(path.read_text())["bounds"]
    # What was proven stays as it was, with its seconds.
    assert (len(bounds), bounds[:1]) == (2, first)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["proofs"][0]["bound"] == 1
    assert run("prove", "--verify", path) == 0
    assert "within bound 1 it is as it says, " in capsys.readouterr().out


def test_what_has_few_traces_in_all_is_proven_for_every_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "vma-lock-order-fixed"
    assert run("prove", name, "--seconds", "600", "--out", tmp_path) == 0
    assert "vma-lock-order-fixed: passed: every schedule; 4 traces" in capsys.readouterr().out
    path = tmp_path / f"{name}.proof.json"
    assert [one["bound"] for one in json.loads(path.read_text())["bounds"]] == [0, None]
    assert run("prove", "--verify", path) == 0
    assert "without a bound it is as it says, 4 traces" in capsys.readouterr().out
    # There is nothing left to go on with.
    assert run("prove", name, "--seconds", "600", "--out", tmp_path) == 0
    assert [one["bound"] for one in json.loads(path.read_text())["bounds"]] == [0, None]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shares a proof does so from its first execution on."""
    monkeypatch.setattr(proof, "_ALONE", 1e-9)


@pytest.mark.usefixtures("at_once")
def test_several_processes_prove_what_one_proves() -> None:
    with Processes(2) as pool:
        for name, most in (("dirty-cow-fixed", 2), ("dirty-cow", 2), ("fork-half-built-fixed", None)):
            scenario = find_scenario(name)
            alone, shared = prove(scenario, 600, most), prove(scenario, 600, most, workers=pool)
            assert [replace(one, seconds=0.0) for one in shared.bounds] == [
                replace(one, seconds=0.0) for one in alone.bounds
            ]
            assert (shared.open, shared.complete) == (alone.open, alone.complete)
            assert [one and (one.execution, str(one.schedule)) for one in (shared.failed,)] == [
                one and (one.execution, str(one.schedule)) for one in (alone.failed,)
            ]


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("name", "most"), [("brk-standard", 1), ("mremap-flush", 2), ("mremap-flush-fixed", 2)]
)
def test_so_they_do_where_it_takes_longer(name: str, most: int) -> None:
    scenario = find_scenario(name)
    with Processes(3) as pool:
        alone, shared = prove(scenario, 3000, most), prove(scenario, 3000, most, workers=pool)
    assert [one.digest for one in shared.bounds] == [one.digest for one in alone.bounds]
    assert [(one.executions, one.cut) for one in shared.bounds] == [
        (one.executions, one.cut) for one in alone.bounds
    ]


@pytest.mark.usefixtures("at_once")
def test_a_certificate_of_several_processes_is_made_again_by_one(tmp_path: Path) -> None:
    name = "vma-lock-order-fixed"
    assert run("prove", name, "--depth", "2", "--jobs", "2", "--out", tmp_path) == 0
    path = tmp_path / f"{name}.proof.json"
    assert run("prove", "--verify", path, "--jobs", "1") == 0
    data = json.loads(path.read_text())
    data["bounds"][2]["digest"] = "0" * 64
    path.write_text(json.dumps(data))
    assert run("prove", "--verify", path, "--jobs", "2") == 1


@pytest.mark.parametrize(("key", "value"), [("traces", 5), ("digest", "0" * 64), ("cut", 0)])
def test_a_certificate_that_claims_something_else_is_found_out(
    key: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "it.json"
    proof.save(prove(find_scenario("vma-lock-order-fixed"), 60, 0), path)
    data = json.loads(path.read_text())
    data["bounds"][0][key] = value
    path.write_text(json.dumps(data))
    assert run("prove", "--verify", path) == 1
    assert f"the certificate says {value}" in capsys.readouterr().out


def test_a_bug_is_told_with_its_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prove", "vma-lock-order", "--out", tmp_path) == 1
    told = capsys.readouterr().out
    assert "vma-lock-order: failed: lock order" in told
    assert "schedule: s1:" in told
    assert not list(tmp_path.iterdir())


def test_a_scenario_about_weak_memory_is_proven_under_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("prove", "mm-lock-seq-order-fixed", "--depth", "0", "--out", tmp_path) == 0
    assert "passed: every schedule with at most 0 preemptions" in capsys.readouterr().out
    assert '"memory": "weak"' in next(tmp_path.iterdir()).read_text()


def test_a_search_with_a_bound_has_no_budget_unless_one_is_given() -> None:
    assert _default("dfs", 1) is None
    assert _default("dpor", 2) is None
    assert _default("dfs", None) == _default("pct", 3) == DEFAULT_SCHEDULES


@pytest.mark.parametrize(
    "bug", [bug for bug in all_bugs() if bug.fixed.memory == "sc"], ids=lambda bug: bug.name
)
def test_the_reduced_search_believes_nothing_of_a_fixed_form_that_is_not_so(bug: Bug) -> None:
    """What locks say of themselves, say: that is an error where it does not hold (`Excluding`)."""
    search = BoundedDPOR(1)
    runtime = bug.fixed.settings().runtime(search)
    with applied(bug.fixed.patches):
        for _ in range(30):
            if search.left:
                with contextlib.suppress(Pruned):
                    runtime.run(bug.fixed.program)
