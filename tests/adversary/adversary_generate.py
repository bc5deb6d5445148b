"""Random programs of a profile, from a seed: the same ones on every machine.

Drawn with `random.Random(seed)`, whose `random()` and `choice()` of a sequence are the same in every version that is
supported; a seed is the name of a program in a report, and a mutant's hint stays true. Hypothesis would draw others
with each of its versions.
"""

from __future__ import annotations

import re
from random import Random

from adversary_kinds import CLOSE, FAMILIES, KINDS, Kind
from adversary_language import OBJECTS, Block, Program, Statement, lines

PROFILES = (
    "branchy",
    "core",
    "races",
    "circles",
    "locks",
    "irq",
    "rcu",
    "slab",
    "spin",
    "wait",
    "memory",
    "time",
    "custom",
    "places",
    "wrong",
    "everything",
)
_MOST = {"branchy": 11, "core": 8, "spin": 7, "rcu": 8, "slab": 7, "memory": 7, "custom": 7, "places": 7}
"""How many operations the tasks have together, about."""
DECLARED = "+declared"
"""Behind the name of a profile: its programs, with what test files of primitives declare for it (`STATEMENTS`)."""


def declaring() -> list[str]:
    """The profiles for which some test file declares kinds of statement."""
    return [
        name for name in PROFILES if any(name in kind.profiles for kind in KINDS.values() if kind.declared)
    ]


def generate(profile: str, seed: int) -> Program:
    """The program of this name. Of those in which no two tasks touch one thing a few are enough."""
    random = Random(f"{profile} {seed}")
    if profile == "axioms":
        return Program((), note=f"axioms {seed}")
    for _ in range(12):
        program = _draw(random, profile, seed)
        if _meet(program):
            break
    return program


_TOUCHED = re.compile(r"\b[xy]\.[abpn]\b|\b[a-z]\w*\b|rcu")


def _meet(program: Program) -> bool:
    """Two tasks touch one thing."""
    touched = []
    for number, block in enumerate(program.tasks):
        found = _TOUCHED.findall("\n".join(lines(block, f"t{number}")))
        touched.append(
            {one for one in found if one in OBJECTS or one[1:2] == "." or one == "rcu"} - {"x", "y"}
        )
    return any(one & two for number, one in enumerate(touched) for two in touched[:number])


def _draw(random: Random, name: str, seed: int) -> Program:
    profile = name.removesuffix(DECLARED)
    kinds = [kind for kind in KINDS.values() if profile in kind.profiles and not kind.declared]
    basic = [kind for kind in kinds if kind.name in ("get", "set", "if", "put", "plain read", "plain write")]
    special = [kind for kind in kinds if kind not in basic]
    # Few kinds in one program, so that they meet: from all of a profile hardly two would be of one object.
    liked = basic + _some(random, special, 4)
    tasks = random.choice((2, 2, 3))
    budget = random.randrange(4, _MOST.get(profile, 8) + 1)
    if profile == "branchy":
        # What a reduced search loses it loses among three tasks that read several places and write afterwards.
        liked = basic + _some(random, special, random.choice((0, 0, 1)))
        tasks, budget = 3, random.randrange(7, 11)
    elif profile == "wrong":
        liked = [KINDS["get"], *_some(random, special, 3)]
    elif profile == "races":
        budget = random.randrange(8, 15)
        family = random.choice(sorted(FAMILIES))
        own = [KINDS[name] for name in FAMILIES[family].split(",")]
        liked = [KINDS[name] for name in ("plain read", "plain write", "if")] + [
            random.choice(own) for _ in range(5)
        ]
    if profile in CLOSE and random.random() < 0.7:
        row = random.choice(CLOSE[profile]).split(",")
        liked = [random.choice([KINDS[name] for name in row]) for _ in range(4)]
    if profile == "spin" and random.random() < 0.25:
        # A crowd at one lock made by hand.
        liked, tasks, budget = [*basic, KINDS[random.choice(("test and set", "compare and set"))]], 3, 12
    if profile != name:
        own = [kind for kind in KINDS.values() if profile in kind.profiles and kind.declared]
        liked = [*liked, *_some(random, own, len(liked))]
    made = [
        _block(random, liked, [budget // tasks + (number < budget % tasks)], frozenset(), 5)
        for number in range(tasks)
    ]
    faults = int(profile in ("slab", "everything") and random.random() < 0.3)
    spurious = int(profile in ("wait", "everything") and random.random() < 0.15)
    return Program(tuple(made), (), faults, spurious, f"{name} {seed}")


def _some(random: Random, kinds: list[Kind], most: int) -> list[Kind]:
    """So many of them, heavier ones more often."""
    return [_one(random, kinds) for _ in range(most)] if kinds else []


def _one(random: Random, kinds: list[Kind]) -> Kind:
    at = random.random() * sum(kind.weight for kind in kinds)
    for kind in kinds:
        at -= kind.weight
        if at < 0:
            return kind
    return kinds[-1]


def _block(random: Random, liked: list[Kind], left: list[int], inside: frozenset[str], most: int) -> Block:
    made: list[Statement] = []
    while left[0] > 0 and len(made) < most:
        allowed = [kind for kind in liked if not kind.never & inside]
        if not allowed:
            break
        made.append(_statement(random, _one(random, allowed), liked, left, inside))
        if random.random() < 0.1 and inside:
            break
    return tuple(made)


def _statement(
    random: Random, kind: Kind, liked: list[Kind], left: list[int], inside: frozenset[str]
) -> Statement:
    left[0] -= max(kind.cost, 1) if not kind.has_body else kind.cost
    args = tuple(random.choice(values) for values in kind.choices)
    body: Block = ()
    orelse: Block = ()
    if kind.has_body:
        body = _block(random, liked, left, inside | kind.adds, 2)
    if kind.has_else and random.random() < 0.5:
        orelse = _block(random, liked, left, inside | (kind.adds & {"if", "loop"}), 1)
    return Statement(kind.name, args, body, orelse)
