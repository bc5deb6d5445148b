"""A few hundred random programs against judges that share nothing with the engine (docs/adversary.md).

A failing test prints the program, shrunk, ready to be pasted into a test.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import adversary_compare as compare
import pytest
from adversary_compare import Skipped
from adversary_generate import DECLARED, PROFILES, declaring, generate
from adversary_language import Program, shrunk, source, text_of
from adversary_never import WAYS, never_passed

from sugarbush.concurrency import ConcurrencyError

Comparison = Callable[[Program], str]


def differs(comparison: Comparison, program: Program) -> str:
    """What a comparison says; what it does not judge does not differ."""
    try:
        return comparison(program)
    except Skipped:
        return ""


def called(what: object) -> str:
    """A part of a test's name: that of a comparison without its address."""
    return str(getattr(what, "__name__", what))


def judge(comparison: Comparison, profile: str, seeds: range, least: float = 0.3) -> None:
    """Compare the programs of these seeds; at least this part of them must be small enough to be judged."""
    compared = 0
    for seed in seeds:
        program = generate(profile, seed)
        if (comparison, profile, seed) in KNOWN:
            continue
        try:
            difference = comparison(program)
        except Skipped:
            continue
        compared += 1
        if difference:
            small = shrunk(program, lambda one: differs(comparison, one))
            told = differs(comparison, small) or difference
            pytest.fail(f"{comparison.__name__}, {profile} {seed}: {told}\n\n{source(small)}", pytrace=False)
    assert compared >= least * len(seeds), f"only {compared} of {len(seeds)} programs could be judged"


SUITE: list[tuple[Comparison, str, int, int, float]] = [
    (compare.with_model, "core", 70, 300, 0.9),
    (compare.with_model, "branchy", 40, 200, 0.9),
    (compare.with_model, "spin", 25, 100, 0.7),
    (compare.with_model, "circles", 30, 100, 0.3),
    (compare.with_model, "slab", 40, 60, 0.1),
    (compare.with_traces, "branchy", 70, 200, 0.7),
    (compare.with_traces, "core", 20, 100, 0.2),
    (compare.with_enumeration, "rcu", 14, 50, 0.1),
    (compare.with_enumeration, "slab", 16, 50, 0.2),
    (compare.with_enumeration, "wait", 14, 60, 0.2),
    (compare.with_enumeration, "time", 5, 30, 0.0),
    (compare.with_enumeration, "custom", 14, 60, 0.3),
    (compare.with_enumeration, "memory", 14, 60, 0.3),
    (compare.with_enumeration, "irq", 4, 20, 0.0),
    (compare.with_enumeration, "everything", 16, 60, 0.2),
    (compare.with_bounds, "locks", 8, 80, 0.3),
    (compare.with_bounds, "rcu", 8, 80, 0.1),
    (compare.with_bounds, "slab", 8, 80, 0.1),
    (compare.with_bounds, "wait", 8, 80, 0.2),
    (compare.with_bounds, "irq", 6, 60, 0.0),
    (compare.with_bounds, "spin", 6, 60, 0.1),
    (compare.with_bounds, "time", 6, 60, 0.0),
    (compare.with_bounds, "wrong", 6, 60, 0.1),
    (compare.with_bounds, "places", 10, 100, 0.3),
    (compare.with_bounds, "everything", 8, 80, 0.1),
    (compare.in_parts, "everything", 5, 80, 0.1),
    (compare.in_parts, "slab", 3, 40, 0.1),
    (compare.twice, "locks", 12, 60, 0.4),
    (compare.twice, "wait", 12, 60, 0.4),
    (compare.twice, "memory", 12, 60, 0.4),
    (compare.with_races, "races", 90, 300, 0.9),
    (compare.with_strategies, "everything", 5, 20, 0.0),
    (compare.with_strategies, "spin", 4, 15, 0.0),
    (compare.with_fewest, "core", 12, 30, 0.0),
    (compare.with_fewest, "slab", 12, 30, 0.0),
    (compare.with_circles, "circles", 20, 60, 0.2),
    (compare.with_words, "wrong", 25, 60, 0.5),
    (compare.with_explanation, "custom", 8, 30, 0.0),
    (compare.with_audit, "everything", 12, 100, 0.9),
    (compare.with_audit, "time", 12, 60, 0.9),
    (compare.with_audit, "wrong", 30, 60, 0.9),
    (compare.with_lies, "custom", 8, 30, 0.2),
    (compare.with_audit, "places", 12, 100, 0.9),
    (compare.with_places_left_out, "places", 10, 60, 0.3),
    (compare.ends, "spin", 3, 8, 0.9),
    (compare.stays_short, "spin", 8, 30, 0.4),
    (compare.with_axioms, "axioms", 6, 0, 1.0),
]
"""Each comparison with a profile; how many programs of it are in the suite, and how many in each of ten parts of the
exhaustive comparison; and which part of them must be small enough to be judged."""

OPEN: list[tuple[Comparison, str, int, str]] = []
"""Programs on which the engine is known to be wrong, and how. They are left out above;
`test_what_is_open_is_still_wrong` says when that is over."""
KNOWN = {(comparison, profile, seed) for comparison, profile, seed, _ in OPEN}


@pytest.mark.parametrize(
    ("comparison", "profile", "count", "least"),
    [(comparison, profile, count, least) for comparison, profile, count, _, least in SUITE],
    ids=called,
)
def test_the_engine_agrees_with_its_judge(
    comparison: Comparison, profile: str, count: int, least: float
) -> None:
    judge(comparison, profile, range(count), least)


def test_it_agrees_on_what_test_files_of_primitives_declare() -> None:
    """`STATEMENTS` (`declared_in_tests`); tests/docs/test_recipes.py runs this with some."""
    for profile in declaring():
        for comparison, name, count, _, _ in SUITE:
            if name == profile:
                judge(comparison, profile + DECLARED, range(count), 0.0)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_not_explored_is_never_passed(way: str) -> None:
    for strategy in ("dfs", "dpor"):
        assert never_passed(way, generate("core", 0), strategy) == ""


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize(
    ("comparison", "profile", "count", "least"),
    [(comparison, profile, many, 0.6 * least) for comparison, profile, _, many, least in SUITE if many],
    ids=called,
)
def test_the_engine_agrees_with_its_judge_on_more(
    comparison: Comparison, profile: str, count: int, least: float, part: int
) -> None:
    start = 1000 + part * count
    judge(comparison, profile, range(start, start + count), least)


def test_the_exhaustive_comparison_has_20000_programs() -> None:
    assert 10 * sum(many for _, _, _, many, _ in SUITE) >= 20_000


def test_programs_are_the_same_in_every_run() -> None:
    """A seed is the name of a program, in a report and in the hint of a mutant: on every machine, in every version."""
    text = "\n".join(text_of(generate(profile, seed)) for profile in PROFILES for seed in range(5))
    assert sha256(text.encode()).hexdigest()[:16] == "25739fb6b23fbc66", (
        "hints of mutants may not hold any more"
    )


@pytest.mark.parametrize(("comparison", "profile", "seed", "why"), OPEN, ids=called)
def test_what_is_open_is_still_wrong(comparison: Comparison, profile: str, seed: int, why: str) -> None:
    program = generate(profile, seed)
    try:
        wrong = comparison(program)
    except ConcurrencyError as error:
        wrong = str(error)
    assert wrong, f"{profile} {seed} is right now: take it from OPEN ({why})"


def test_a_failing_program_is_shrunk_to_what_matters() -> None:
    """Whatever else it does: it still writes 2 to x.b, and nothing that can be left out is left."""
    program = next(
        one for one in (generate("core", seed) for seed in range(200)) if "x.b = 2" in text_of(one)
    )
    small = shrunk(program, lambda one: "x.b = 2" in text_of(one))
    assert text_of(small).count("\n") < 14
    scope: dict[str, object] = {}
    exec(source(small), scope)
    assert callable(scope["program"])
