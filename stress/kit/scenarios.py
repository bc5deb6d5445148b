"""Scenarios: named programs, with what is expected of them.

@scenario("brk-standard", era="6.1")
def brk_standard() -> None:
    "One line that `sugarbush list` shows."
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import Any, get_args

from sugarbush.concurrency import MEMORIES, Kind, Settings, SugarbushError
from sugarbush.concurrency.core import check_runs
from sugarbush.concurrency.lowlevel import Observer
from sugarbush.lockdep.outside import shown
from sugarbush.stress.kit.checks import CHECKS, model_observers
from sugarbush.stress.kit.patches import Patch

Value = int | str
_WORDS = {str: "a text", int: "a number", type(None): "None"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
"""What a scenario may be called. Its artifacts are called after it: no name leads out of their directory, none is taken
for an option or a hidden file, and with kind, seed and number it stays within the 255 bytes of a file's name."""
LARGEST = 1_000_000
"""Of a parameter: an execution has so many operations at most, and one of this size is never come to the end of."""
_TEXT = 200


class UnknownScenario(SugarbushError):
    """No scenario has this name; the message gives those that are spelt alike."""


class BadScenario(SugarbushError):
    """What is registered as a scenario, or a bug, is none; the message says what is wrong."""


class BadParameter(SugarbushError):
    """A scenario has no such parameter, or it does not take this value; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named program, and how it is run."""

    name: str
    function: Callable[..., Any]
    """Its keyword arguments are the parameters of the scenario: sizes, what kind of lock."""
    era: str
    """The kernel version that it models, in words."""
    expect: str | None
    """The check that it breaks, or the kind of its failure; None for a program that must be clean."""
    patches: tuple[Patch, ...]
    """Applied while it runs."""
    faults: int
    """How many allocations may fail in one execution."""
    without: frozenset[str]
    """The checks that are off."""
    observers: Callable[[], Sequence[Observer]]
    """Makes its further observers: the invariants of what it drives."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """The parameters that were given; the others are at their defaults."""
    memory: str = "sc"
    """The memory model that it is about."""
    closing: Callable[[], Sequence[str]] = tuple
    """Gives what it has to say when a run is over, line by line."""

    @property
    def program(self) -> Callable[[], Any]:
        """What is explored."""
        return partial(self.function, **self.values) if self.values else self.function

    @property
    def parameters(self) -> dict[str, Value]:
        """Its parameters, with their defaults."""
        return {name: one.default for name, one in inspect.signature(self.function).parameters.items()}

    def given(self, values: Mapping[str, object], faults: int | None = None) -> Scenario:
        """The same scenario with these parameters, and with so many allocations that may fail (None: as it says).

        Text is read as a number where one is due. Raises `BadParameter`.
        """
        if not values and faults in (None, self.faults):
            return self
        read = {name: self._read(name, value) for name, value in sorted(values.items())}
        return replace(self, values=read, faults=self.faults if faults is None else faults)

    def _read(self, name: str, value: object) -> Value:
        parameters = self.parameters
        if name not in parameters:
            there = ", ".join(parameters) or "none"
            raise BadParameter(f"scenario {self.name!r} has no parameter {shown(name)}: there are {there}")
        if isinstance(parameters[name], str):
            if isinstance(value, str) and len(value) <= _TEXT:
                return value
            kind = f"text of at most {_TEXT} characters"
        else:
            # Digits of other scripts are decimal, too; and Python reads no more than 4300 digits.
            if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= _TEXT:
                value = int(value)
            if type(value) is int and 0 <= value <= LARGEST:
                return value
            kind = f"a number, 0 to {LARGEST}"
        raise BadParameter(f"parameter {name!r} of scenario {self.name!r} is {kind}, not {shown(value)}")

    def settings(self, without: frozenset[str] = frozenset(), memory: str | None = None) -> Settings:
        """How its executions are run; `without` are further checks to look past, `memory` another memory model."""
        return Settings(
            without=self.without | without,
            faults=self.faults,
            observers=self.observers,
            memory=memory or self.memory,
        )

    @property
    def summary(self) -> str:
        """The first line of the program's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


_registered: dict[str, Scenario] = {}


def scenario(
    name: str,
    *,
    era: str,
    expect: str | None = None,
    patches: tuple[Patch, ...] = (),
    faults: int = 0,
    without: tuple[str, ...] = (),
    memory: str = "sc",
    observers: Callable[[], Sequence[Observer]] = model_observers,
    closing: Callable[[], Sequence[str]] = tuple,
) -> Callable[[Callable[..., Any]], Scenario]:
    """Register the decorated program under `name`; `era` is the kernel version that it models.

    `expect` and `without` name checks; one of your own is known once it stands in `stress.kit.checks.CHECKS`. Raises
    `BadScenario` for what could not be run, and for a name that is taken.

    Its keyword arguments, numbers or text with a default, become parameters: ``sugarbush run NAME --ARGUMENT VALUE``.
    """

    def register(program: Callable[..., Any]) -> Scenario:
        check_kinds(
            f"scenario {name!r}",
            {
                "name": (name, str),
                "era": (era, str),
                "expect": (expect, str | None),
                "faults": (faults, int),
                "memory": (memory, str),
                "patches": (patches, tuple | list),
                "without": (without, tuple | list | set | frozenset),
            },
        )
        _check_words(name, expect, without, memory, faults)
        for what, one in (("observers", observers), ("closing", closing)):
            check_runs(one, f"{what} of scenario {name!r}")
        check_runs(program, f"the program of scenario {name!r}")
        for patch in patches:
            check_kinds(f"scenario {name!r}", {"patches": (patch, Patch)})
        for parameter in inspect.signature(program).parameters.values():
            if type(parameter.default) not in (int, str):
                raise BadScenario(
                    f"the parameter {parameter.name!r} of scenario {name!r} needs a default, a number or a text"
                )
        made = _registered[name] = Scenario(
            name,
            program,
            era,
            expect,
            patches,
            faults,
            frozenset(without),
            observers,
            closing=closing,
            memory=memory,
        )
        return made

    return register


def _check_words(name: str, expect: str | None, without: Iterable[object], memory: str, faults: int) -> None:
    """Refuse names that mean nothing: what is looked for, or past, would not be what its author meant."""
    if not NAME.fullmatch(name):
        raise BadScenario(
            f"a scenario cannot be called {shown(name)}: files are called after it, so use letters, digits, '-', '_' "
            "and '.', a letter or digit first, at most 80"
        )
    taken = _registered.get(name)
    if taken is not None:
        there = taken.function.__code__.co_filename if hasattr(taken.function, "__code__") else "another file"
        raise BadScenario(f"there is a scenario {name!r} already, of {there}: give this one another name")
    kinds = tuple(kind.value for kind in Kind)
    if expect is not None and expect not in CHECKS and expect not in kinds:
        raise BadScenario(
            f"scenario {name!r} expects {shown(expect)}, which is neither a check nor a kind of failure: "
            + did_you_mean(expect, (*CHECKS, *kinds), "list")
        )
    for check in without:
        if check not in CHECKS:
            raise BadScenario(
                f"scenario {name!r} is without {shown(check)}, which is no check: "
                + did_you_mean(str(check), CHECKS, "list")
            )
    if memory not in MEMORIES:
        raise BadScenario(f"scenario {name!r} has memory {shown(memory)}: there are {', '.join(MEMORIES)}")
    if faults < 0:
        raise BadScenario(f"scenario {name!r} has {faults} faults: that is 0 or more")


def check_kinds(whose: str, given: Mapping[str, tuple[object, Any]]) -> None:
    """Raise `BadScenario` for what is of the wrong type: found later, it would be told as a mistake of ours."""
    for name, (value, kind) in given.items():
        if isinstance(value, bool) or not isinstance(value, kind):
            wanted = " or ".join(_WORDS.get(one, one.__name__) for one in get_args(kind) or (kind,))
            raise BadScenario(f"{name} of {whose} must be {wanted}, not {value!r}")


def find_scenario(name: str) -> Scenario:
    """The scenario of this name; raises `UnknownScenario`."""
    found = _registered.get(name)
    if found is None:
        raise UnknownScenario(
            f"no scenario is called {shown(name)}: {did_you_mean(name, _registered, 'list')}; one that stands in a "
            "file of your own needs `sugarbush --load FILE` before the command"
        )
    return found


def did_you_mean(name: str, names: Iterable[str], command: str) -> str:
    """What to say to who mistook `name` for one of `names`, which ``sugarbush COMMAND`` shows."""
    alike = get_close_matches(name[:_TEXT], names)
    guess = f"did you mean {' or '.join(alike)}? " if alike else ""
    return f"{guess}`sugarbush {command}` names them all"


def all_scenarios() -> list[Scenario]:
    """All scenarios, by name."""
    return [_registered[name] for name in sorted(_registered)]
