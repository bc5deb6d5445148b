"""Every public primitive, and every public method of one, is in some generator; a new one fails here until it is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache

import pytest
from adversary_generate import DECLARED, PROFILES, declaring, generate
from adversary_kinds import KINDS
from adversary_language import OBJECTS, PRELUDE, Block, names_in

from sugarbush import concurrency
from sugarbush.concurrency import lowlevel

PLACE = {name: tier for tier in (concurrency, lowlevel) for name in tier.__all__}
PUBLIC = set(PLACE)
"""Of both tiers: who writes programs and who writes primitives."""

NO_PRIMITIVE: dict[str, str] = {
    **dict.fromkeys(
        ["DEFAULT_DEPTH", "DEFAULT_STRATEGY", "MEMORIES", "RUNTIMES", "STRATEGIES"],
        "says what there is to choose from",
    ),
    **dict.fromkeys(
        ["DPOR", "PCT", "POS", "SURW", "DepthFirst", "RandomWalk", "Replay", "Search", "Strategy"],
        "makes the choices",
    ),
    "step": "announces an operation whose effect the caller makes: what the fields of the generators do",
    **dict.fromkeys(
        [
            "Execution",
            "Result",
            "SugarbushError",
            "Verdict",
            "Witness",
            "Schedule",
            "Segment",
            "Datum",
            "Event",
            "explain",
            "explore",
            "minimise",
            "replay",
        ],
        "is what comparisons run programs with",
    ),
    **dict.fromkeys(
        [
            "Observer",
            "Sight",
            "Recorder",
            "RaceDetector",
            "RcuCheck",
            "LeakCheck",
            "LockValidator",
            "Sampler",
            "Settings",
            "Simulated",
            "Threaded",
            "Runtime",
        ],
        "runs or watches an execution",
    ),
    **dict.fromkeys(["Audit", "WrongDeclaration", "audit"], "compares declarations with what operations do"),
    **dict.fromkeys(["BadSchedule", "ConcurrencyError", "TaskKilled", "WouldBlock"], "is raised, not called"),
    **dict.fromkeys(
        ["Dep", "Fence", "Footprint", "Hold", "Moment", "if_it_succeeds"], "is how operations are declared"
    ),
    **dict.fromkeys(
        ["Excluding", "Explaining", "Holdable", "Mapped", "Named", "Seen", "Timed", "Waitable"],
        "is what the engine asks of a primitive",
    ),
    **dict.fromkeys(
        ["look_at"], "is how a primitive shows its state; each of theirs that is public is called"
    ),
    "Lock": "is what locks have in common; its subclasses are in the generators",
    "Task": "is what spawn() gives",
}
"""Public names that no program under test calls, and why."""

NO_METHOD: dict[str, str] = {
    "Timer.fire": "is called by the clock",
    "SrcuStruct.begin": "is called by operations",
    "KmemCache.adopt": "is for what is there before anybody could touch it, so it orders nothing",
}
"""Public methods that no program under test calls, and why."""

CLASSES = [
    "Barrier",
    "Completion",
    "Condition",
    "Flag",
    "KmemCache",
    "Mutex",
    "RwLock",
    "RwSemaphore",
    "SeqCount",
    "SeqLock",
    "Semaphore",
    "Spinlock",
    "Timer",
    "WaitQueue",
]
ON_LOCKS = {"as_seen", "awaited", "free", "held_alone", "holders", "times_held"}
"""Methods and properties of locks by which the engine asks who holds them."""


@cache
def generated() -> frozenset[str]:
    """All names in the statements that some profile may draw, and in what they are made with."""
    texts = [kind.text for kind in KINDS.values() if kind.weight > 0 and kind.profiles & {*PROFILES}]
    return frozenset(names_in("\n".join([PRELUDE, *OBJECTS.values(), *texts])))


@pytest.mark.exhaustive
def test_every_kind_of_statement_is_drawn() -> None:
    missing = set(KINDS)
    for profile in (*PROFILES, *[name + DECLARED for name in declaring()]):
        for seed in range(1500):
            program = generate(profile, seed)
            for block in program.tasks:
                missing -= set(_kinds(block))
    assert not missing, f"no program has {', '.join(sorted(missing))}"


def _kinds(block: Block) -> Iterator[str]:
    for statement in block:
        yield statement.kind
        yield from _kinds(statement.body)
        yield from _kinds(statement.orelse)


def test_every_public_primitive_is_in_a_generator() -> None:
    missing = PUBLIC - set(NO_PRIMITIVE) - generated()
    assert not missing, (
        f"no program of the adversary uses {', '.join(sorted(missing))}: add a kind of statement to "
        "adversary_kinds.py, or say in NO_PRIMITIVE why it is no primitive"
    )


def test_every_method_of_a_primitive_is_in_a_generator() -> None:
    missing = []
    for name in CLASSES:
        made = getattr(PLACE[name], name)
        methods = {
            method
            for base in made.__mro__
            if base.__module__.startswith("sugarbush.concurrency")
            for method, what in vars(base).items()
            if not method.startswith("_") and inspect.isfunction(what)
        }
        missing += [
            f"{name}.{method}"
            for method in sorted(methods - generated() - ON_LOCKS)
            if f"{name}.{method}" not in NO_METHOD
        ]
    assert not missing, f"no program of the adversary calls {', '.join(missing)}: see adversary_kinds.py"


def test_what_is_said_to_be_no_primitive_is_still_public_and_in_no_generator_by_accident() -> None:
    gone = set(NO_PRIMITIVE) - PUBLIC
    assert not gone, f"{', '.join(sorted(gone))} is not public any more: take it from NO_PRIMITIVE"
