"""The text of a scenario file: the tasks of a cycle, the options that make it safe, and the tests of both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sugarbush.lockdep.read.identities import parted
from sugarbush.lockdep.read.wording import harmless

_CALLS: Final = {
    ("Mutex", "write"): ("lock", "unlock"),
    ("Spinlock", "write"): ("lock", "unlock"),
    ("RwSemaphore", "write"): ("down_write", "up_write"),
    ("RwSemaphore", "read"): ("down_read", "up_read"),
}


@dataclass(frozen=True, slots=True)
class ScenarioStep:
    """A task of the program: it takes `held`, then `wanted`, the second one in a handler if `irq` says which."""

    held: str
    wanted: str
    held_mode: str
    wanted_mode: str
    function: str
    irq: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioProgram:
    """What is written: the steps, the primitive of each class, what was assumed, and where it comes from."""

    name: str
    title: str
    origin: str
    steps: Sequence[ScenarioStep]
    kinds: dict[str, str]
    assumed: Sequence[str]

    @property
    def is_alone(self) -> bool:
        """Whether one task does it all, with one lock: a gate changes nothing then."""
        return self.steps[0].held == self.steps[0].wanted

    def text(self) -> str:
        """The file."""
        return "\n".join([*self._head(), *self._program(), *self._tests()]) + "\n"

    def _head(self) -> Iterator[str]:
        contexts = sorted({step.irq for step in self.steps if step.irq})
        imports = {*self.kinds.values(), "Settings", "explore", "join", "spawn", *contexts}
        if not self.is_alone:
            imports |= {"Mutex", "mdelay"}
        run = f"    sugarbush --load THIS_FILE run {self.name} --strategy pct"
        yield f'"""{doc(self.title)}: the orders of a lock report, as a program.'
        yield ""
        yield f"Read from {doc(self.origin)}. Run it, and look which change makes it safe:"
        yield ""
        yield run
        yield from ([] if self.is_alone else [f"{run} --gate 1"])
        yield f"{run} --turned 1"
        yield ""
        yield "What the log does not say, and was assumed:"
        yield from (f"- {doc(one)}" for one in dict.fromkeys(self.assumed))
        yield '"""'
        yield ""
        yield f"from sugarbush.concurrency import {', '.join(sorted(imports, key=lambda one: (one.lower(), one)))}"
        yield "from sugarbush.stress.kit.scenarios import scenario"
        yield ""
        yield "WITHOUT = frozenset({'lockdep', 'atomic-sleep', 'lock-order'})"
        yield '"""What would end an execution at the wrong order itself: it is to go on until tasks wait."""'
        yield ""
        yield ""

    def _program(self) -> Iterator[str]:
        variables = _variables([name for step in self.steps for name in (step.held, step.wanted)])
        if self.is_alone:
            yield "def program(turned: int = 0) -> None:"
            yield '    """The task; `turned`: with the change that makes it safe."""'
        else:
            yield "def program(gate: int = 0, turned: int = 0) -> None:"
            yield '    """The tasks; `gate`: under one outer lock; `turned`: that step takes them the other way."""'
            yield '    outer = Mutex("gate")'
        yield from (f"    {variable} = {self.kinds[lock]}({lock!a})" for lock, variable in variables.items())
        yield from (
            _alone(self.steps[0], self.kinds, variables)
            if self.is_alone
            else _tasks(self.steps, self.kinds, variables)
        )
        yield ""
        yield ""

    def _tests(self) -> Iterator[str]:
        yield (
            f'scenario("{self.name}", era="6.1", expect="deadlock", without=tuple(sorted(WITHOUT)),'
            " observers=list)(program)"
        )
        yield ""
        yield ""
        yield "def test_these_orders_deadlock() -> None:"
        yield '    result = explore(program, strategy="pct", executions=300, settings=Settings(without=WITHOUT))'
        yield '    assert [one.failure.kind for one in result.failures] == ["deadlock"]'
        yield ""
        yield ""
        what = "the_change_makes_it" if self.is_alone else "a_gate_lock_or_one_turned_step_makes_them"
        yield f"def test_{what}_safe() -> None:"
        changes = "{'turned': 1}" if self.is_alone else "{'gate': 1}, {'turned': 1}"
        yield f"    for change in ({changes},):"
        yield "        result = explore("
        yield "            lambda change=change: program(**change),"
        yield '            strategy="pct",'
        yield "            executions=300,"
        yield "            settings=Settings(without=WITHOUT),"
        yield "        )"
        yield "        assert result.failures == []"


def _variables(names: Sequence[str]) -> dict[str, str]:
    """A Python name for each class."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        base, number, subclass = parted(name)
        words = re.sub(r"\W+", "_", base.rpartition("->")[2] or base).strip("_").lower() or "lock"
        words = f"{words}{number.replace('#', '_')}{subclass.replace('/', '_sub')}"
        words = words if words[0].isalpha() else f"lock_{words}"
        words = f"{words}_lock" if words in _TAKEN else words
        while words in found.values():
            words += "_2"
        found[name] = words
    return found


_TAKEN: Final = frozenset(
    [
        "and",
        "as",
        "assert",
        "async",
        "await",
        "break",
        "class",
        "continue",
        "def",
        "del",
        "elif",
        "else",
        "except",
        "finally",
        "for",
        "from",
        "global",
        "if",
        "import",
        "in",
        "is",
        "lambda",
        "nonlocal",
        "not",
        "or",
        "pass",
        "raise",
        "return",
        "try",
        "while",
        "with",
        "yield",
        "none",
        "true",
        "false",
        "match",
        "case",
        "type",
        "outer",
        "gate",
        "turned",
        "program",
        "mutex",
        "take",
        "drop",
        "scenario",
        "explore",
        "settings",
        "spawn",
        "join",
        "step",
        "writer",
        "softirq",
        "hardirq",
    ]
)


def _alone(step: ScenarioStep, kinds: dict[str, str], variables: dict[str, str]) -> Iterator[str]:
    """One lock, taken twice by one task, or by a handler that comes in while it is held."""
    lock = variables[step.held]
    take, drop = _CALLS[kinds[step.held], step.held_mode]
    inner = f"{lock}_2nd" if not step.irq else lock
    if not step.irq:
        yield f"    {inner} = {kinds[step.held]}({step.held!a}) if turned else {lock}"
    yield ""
    yield f"    def {_identifier(step.function)}() -> None:"
    yield f"        {lock}.{take}()"
    pad = "        "
    if step.irq:
        # Turned: the handler comes in when the lock is free again, as with interrupts off.
        yield f"        if turned:\n            {lock}.{drop}()"
        yield f"        with {step.irq}():"
        pad += "    "
    yield f"{pad}{inner}.{take}()"
    yield f"{pad}{inner}.{drop}()"
    if step.irq:
        yield f"        if not turned:\n            {lock}.{drop}()"
    else:
        yield f"        {lock}.{drop}()"
    yield ""
    yield f'    join(spawn({_identifier(step.function)}, name="{_identifier(step.function)}"))'


def _tasks(found: Sequence[ScenarioStep], kinds: dict[str, str], variables: dict[str, str]) -> Iterator[str]:
    names: list[str] = []
    for at, step in enumerate(found, 1):
        function = f"{_identifier(step.function)}_{at}"
        names.append(function)
        first, first_drop = _CALLS[kinds[step.held], step.held_mode]
        second, second_drop = _CALLS[kinds[step.wanted], step.wanted_mode]
        held, wanted = variables[step.held], variables[step.wanted]
        yield ""
        yield f"    def {function}() -> None:"
        yield f"        # Step {at}: {doc(step.wanted)} wanted while {doc(step.held)} was held."
        yield "        if gate:\n            outer.lock()"
        yield f"        if turned == {at}:"
        yield f"            {wanted}.{second}()"
        yield f"            {held}.{first}()"
        yield f"            {held}.{first_drop}()"
        yield f"            {wanted}.{second_drop}()"
        yield "        else:"
        yield f"            {held}.{first}()"
        # Between the two acquires time passes in any kernel. Without it a search that makes few preemptions would need
        # one for every step but one, and six steps are more than PCT's depth has.
        yield "            mdelay(1)"
        pad = "            "
        if step.irq:
            yield f"            with {step.irq}():"
            pad += "    "
        yield f"{pad}{wanted}.{second}()"
        yield f"{pad}{wanted}.{second_drop}()"
        yield f"            {held}.{first_drop}()"
        yield "        if gate:\n            outer.unlock()"
    for between in _read_by_both(found):
        variable = variables[between]
        name = f"writer_of_{variable}"
        names.append(name)
        yield ""
        yield f"    def {name}() -> None:"
        yield f"        # Readers of {doc(between)} wait for each other only behind a writer that comes in between."
        yield "        if gate:\n            outer.lock()"
        yield f"        {variable}.down_write()"
        yield f"        {variable}.up_write()"
        yield "        if gate:\n            outer.unlock()"
    yield ""
    spawned = ", ".join(f'spawn({name}, name="{name}")' for name in names)
    yield f"    join({spawned})"


def _read_by_both(found: Sequence[ScenarioStep]) -> list[str]:
    """The classes that one step holds and another wants, both for read."""
    held = {step.held for step in found if step.held_mode == "read"}
    return [step.wanted for step in found if step.wanted_mode == "read" and step.wanted in held]


def _identifier(function: str) -> str:
    word = re.sub(r"\W+", "_", function).strip("_")
    word = word if word[:1].isalpha() or word[:1] == "_" else f"f_{word}"
    return f"{word}_" if word in _TAKEN else word.lstrip("_") or "step"


def doc(text: str) -> str:
    """Text for a docstring or comment: nothing in it ends either."""
    return harmless(text).replace("\\", "/").replace('"""', "'''").replace("\n", " ")
