"""A few hundred random programs against judges that share nothing with the engine (docs/adversary.md).

A failing test prints the program, shrunk, ready to be pasted into a test.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import adversary_compare as compare
import pytest
from adversary_compare import Skipped
from adversary_generate import PROFILES, generate
from adversary_language import Program, shrunk, source, text_of
from adversary_never import WAYS, never_passed

Comparison = Callable[[Program], str]


def differs(comparison: Comparison, program: Program) -> str:
    """What a comparison says; what it does not judge does not differ."""
    try:
        return comparison(program)
    except Skipped:
        return ""


def judge(comparison: Comparison, profile: str, seeds: range, least: float = 0.3) -> None:
    """Compare the programs of these seeds; at least this part of them must be small enough to be judged."""
    compared = 0
    for seed in seeds:
        program = generate(profile, seed)
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


SUITE: list[tuple[Comparison, str, int, float]] = [
    (compare.with_model, "core", 60, 0.9),
    (compare.with_model, "branchy", 50, 0.9),
    (compare.with_model, "spin", 40, 0.8),
    (compare.with_model, "circles", 25, 0.3),
    (compare.with_model, "slab", 30, 0.1),
    (compare.with_traces, "branchy", 60, 0.8),
    (compare.with_traces, "core", 40, 0.2),
    (compare.with_enumeration, "rcu", 15, 0.2),
    (compare.with_enumeration, "slab", 20, 0.3),
    (compare.with_enumeration, "wait", 15, 0.3),
    (compare.with_enumeration, "time", 12, 0.1),
    (compare.with_enumeration, "custom", 15, 0.3),
    (compare.with_enumeration, "memory", 15, 0.3),
    (compare.with_enumeration, "irq", 8, 0.0),
    (compare.with_enumeration, "everything", 20, 0.3),
    (compare.twice, "locks", 20, 0.5),
    (compare.twice, "wait", 20, 0.5),
    (compare.twice, "memory", 20, 0.5),
    (compare.with_races, "races", 60, 0.9),
    (compare.with_strategies, "everything", 10, 0.2),
    (compare.with_strategies, "spin", 8, 0.2),
    (compare.with_fewest, "core", 30, 0.02),
    (compare.with_fewest, "slab", 25, 0.02),
    (compare.with_circles, "circles", 20, 0.2),
    (compare.with_words, "wrong", 20, 0.5),
    (compare.with_explanation, "custom", 12, 0.02),
    (compare.with_audit, "everything", 15, 0.9),
    (compare.with_lies, "custom", 15, 0.3),
    (compare.ends, "spin", 6, 0.9),
    (compare.stays_short, "spin", 12, 0.5),
    (compare.with_axioms, "axioms", 10, 1.0),
]
"""Each comparison with a profile, how many programs of it are in the suite, and which part must be judged."""


def _called(entry: object) -> str:
    return getattr(entry, "__name__", None) or str(entry)


@pytest.mark.parametrize(("comparison", "profile", "count", "least"), SUITE, ids=_called)
def test_the_engine_agrees_with_its_judge(comparison: Comparison, profile: str, count: int, least: float) -> None:
    judge(comparison, profile, range(count), least)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_not_explored_is_never_passed(way: str) -> None:
    for strategy in ("dfs", "dpor"):
        assert never_passed(way, generate("core", 0), strategy) == ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize(
    ("comparison", "profile", "count", "least"),
    [
        (comparison, profile, max(1, count * 4), least * 0.7)
        for comparison, profile, count, least in SUITE
        if comparison is not compare.with_axioms
    ],
    ids=_called,
)
def test_the_engine_agrees_with_its_judge_on_more(
    comparison: Comparison, profile: str, count: int, least: float, part: int
) -> None:
    start = 1000 + part * count
    judge(comparison, profile, range(start, start + count), least)


def test_programs_are_the_same_in_every_run() -> None:
    """A seed is the name of a program, in a report and in the hint of a mutant: on every machine, in every version."""
    text = "\n".join(text_of(generate(profile, seed)) for profile in PROFILES for seed in range(5))
    assert sha256(text.encode()).hexdigest()[:16] == "0123456789abcdef", "hints of mutants may not hold any more"


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
