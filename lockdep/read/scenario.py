"""A report as a program that runs: one task for each step of its cycle, with the locks in these orders.

The text is a scenario file for ``sugarbush --load``. It knows nothing but orders: what the log did not say is
assumed, and the head of the file says each assumption. A gate lock and a turned step are options of the file,
so that one can see which of them makes the deadlock go.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lockdep.keys import LockdepError
from lockdep.read.explain import steps
from lockdep.read.identity import identity, parted
from lockdep.read.model import LogReport
from lockdep.read.titles import own
from lockdep.read.told import harmless
from lockdep.reports.base import ReportKind, Stack

_SPIN: Final = re.compile(r"spin_lock|raw_spin")
_RW: Final = re.compile(r"down_read|down_write|read_lock|write_lock|percpu_down|srcu|synchronize")
_CALLS: Final = {
    ("Mutex", "write"): ("lock", "unlock"),
    ("Spinlock", "write"): ("lock", "unlock"),
    ("RwSemaphore", "write"): ("down_write", "up_write"),
    ("RwSemaphore", "read"): ("down_read", "up_read"),
}


@dataclass(frozen=True, slots=True)
class _Step:
    """A task of the program: it takes `held`, then `wanted`, the second one in a handler if `irq` says which."""

    held: str
    wanted: str
    held_mode: str
    wanted_mode: str
    function: str
    irq: str = ""


def to_scenario(report: LogReport, name: str = "") -> str:
    """The text of the file; raises `LockdepError` if the report is no whole cycle, or of a kind that has no
    orders.
    """
    found, assumed = _steps(report)
    kinds = _kinds(report, found, assumed)
    variables = _variables([step.held for step in found] + [step.wanted for step in found])
    called = name or re.sub(r"[^A-Za-z0-9._-]+", "-", identity(report) or report.word).strip("-")[:80]
    return "\n".join(_file(report, called, found, kinds, variables, assumed)) + "\n"


def _steps(report: LogReport) -> tuple[list[_Step], list[str]]:
    if not report.complete:
        raise LockdepError(
            "this report is cut, so nobody knows its cycle, and no scenario is written: give the whole log"
        )
    assumed = [
        "Each step is made by a task of its own, and the tasks run at the same time.",
        "Each class is one lock: all steps mean the same instance.",
        "No outer lock keeps the steps apart: the report does not tell the outer locks of old steps (try --gate 1).",
    ]
    if report.kind is ReportKind.CIRCULAR:
        return _of_circle(report, assumed), assumed
    if report.kind is ReportKind.RECURSIVE:
        assumed[0] = "One task does it all."
        assumed[1] = "Both acquires mean the same instance (--turned 1 makes it two)."
        function = own(report.stack)
        name = report.cycle[0]
        return [_Step(name, name, "write", "write", function.function if function else "again")], assumed
    if report.kind is ReportKind.INCONSISTENT:
        assumed[0] = "The handler comes in while the lock is held, on the same CPU, with interrupts on."
        name = report.cycle[0]
        return [
            _Step(name, name, "write", "write", _first(report.stack), _context(report.states[1]))
        ], assumed
    if report.kind is ReportKind.IRQ_ORDER:
        assert report.owned is not None
        assert report.wanted is not None
        path = [report.safe, report.owned.name, report.wanted.name, report.unsafe]
        return _of_path(report, path, assumed), assumed
    if report.kind is ReportKind.INVERSION:
        # "took another, unsafe lock": the changed lock is the safe one; "taken by another": the other is.
        path = list(report.cycle) if report.states[1] == "unsafe" else list(report.cycle[::-1])
        return _of_path(report, path, assumed), assumed
    raise LockdepError(
        f"a report of kind {report.word!r} is about no order of locks: there is no scenario to write"
    )


def _of_circle(report: LogReport, assumed: list[str]) -> list[_Step]:
    found = []
    for at, step in enumerate(steps(report)):
        mode = "read" if step.mode == "read" else "write"
        held_mode = "read" if step.held_mode == "read" else "write"
        if step.mode == "try":
            assumed.append(
                f"{step.wanted} is waited for in {step.function}, though the name of a primitive says trylock."
            )
        if step.mode == "read":
            assumed.append(
                f"{step.wanted} is taken for read in {step.function}: the log says so only by names of functions."
            )
        if step.mode == "wait":
            assumed.append(f"{step.function} waits for all who hold {step.wanted}, as a writer would.")
        if held_mode == "write":
            assumed.append(
                f"{step.held} is held exclusively in {step.function or f'step {at + 1}'}: nothing tells."
            )
        found.append(_Step(step.held, step.wanted, held_mode, mode, step.function or f"step_{at + 1}"))
    return found


def _of_path(report: LogReport, path: Sequence[str], assumed: list[str]) -> list[_Step]:
    """A path from the lock that a handler takes to the one that is held with interrupts on; the handler
    closes it.
    """
    names = [name for at, name in enumerate(path) if at == 0 or path[at - 1] != name]
    found = [
        _Step(held, wanted, "write", "write", _function_between(report, held, wanted, at))
        for at, (held, wanted) in enumerate(itertools.pairwise(names))
    ]
    assumed.append(f"The handler comes in while {names[-1]} is held, on the same CPU, with interrupts on.")
    assumed.append("All of these locks are taken exclusively: nothing tells.")
    return [
        *found,
        _Step(
            names[-1],
            names[0],
            "write",
            "write",
            _first(report.usages[0].stack if report.usages else report.stack),
            _context(report.states[0]),
        ),
    ]


def _function_between(report: LogReport, held: str, wanted: str, at: int) -> str:
    for block in report.blocks:
        if block.line.name == held and block.acquired:
            return _first(block.acquired)
    return _first(report.stack) if report.wanted and wanted == report.wanted.name else f"step_{at + 1}"


def _context(state: str) -> str:
    return "softirq" if "SOFTIRQ" in state.upper() else "hardirq"


def _first(stack: Stack) -> str:
    frame = own(stack)
    return frame.function if frame else "handler"


def _kinds(report: LogReport, found: Sequence[_Step], assumed: list[str]) -> dict[str, str]:
    """The primitive for each class, as far as names of functions tell."""
    stacks: dict[str, list[Stack]] = {}
    for one in steps(report):
        stacks.setdefault(one.wanted, []).append(one.stack)
    kinds: dict[str, str] = {}
    for step in found:
        for name in (step.held, step.wanted):
            words = " ".join(frame.function for stack in stacks.get(name, []) for frame in stack[:6])
            if any(
                (one.wanted_mode == "read" and one.wanted == name)
                or (one.held_mode == "read" and one.held == name)
                for one in found
            ):
                kinds[name] = "RwSemaphore"
            elif any(one.irq for one in found) or _SPIN.search(words):
                kinds[name] = "Spinlock"
            elif _RW.search(words):
                kinds[name] = "RwSemaphore"
            else:
                kinds[name] = "Mutex"
            if name.startswith("(") or name in ("fs_reclaim",) or "cpuhp_state" in name:
                note = f"{name} is an annotation and no lock: it stands here as one that is held while that runs."
                if note not in assumed:
                    assumed.append(note)
    return kinds


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


def _file(
    report: LogReport,
    name: str,
    found: Sequence[_Step],
    kinds: dict[str, str],
    variables: dict[str, str],
    assumed: Sequence[str],
) -> Iterator[str]:
    contexts = sorted({step.irq for step in found if step.irq})
    imports = sorted({*kinds.values(), "Mutex", "Settings", "explore", "join", "spawn", *contexts})
    yield f'"""{_doc(report.title or report.headline)}: the orders of a lock report, as a program.'
    yield ""
    yield (
        f"Read from {_doc(report.source or 'a log')}, line {report.line}. Run it, and look which change "
        "makes it safe:"
    )
    yield ""
    yield f"    sugarbush --load THIS_FILE run {name} --strategy pct"
    yield f"    sugarbush --load THIS_FILE run {name} --strategy pct --gate 1"
    yield f"    sugarbush --load THIS_FILE run {name} --strategy pct --turned 1"
    yield ""
    yield "What the log does not say, and was assumed:"
    yield from (f"- {_doc(one)}" for one in dict.fromkeys(assumed))
    yield '"""'
    yield ""
    yield f"from concurrency import {', '.join(sorted(imports, key=lambda one: (one.lower(), one)))}"
    yield "from stress.scenario import scenario"
    yield ""
    yield "WITHOUT = frozenset({'lockdep', 'atomic-sleep', 'lock-order'})"
    yield (
        '"""What would end an execution at the wrong order itself: here it is to run until tasks wait '
        'for each other."""'
    )
    yield ""
    yield ""
    yield "def program(gate: int = 0, turned: int = 0) -> None:"
    yield (
        '    """The tasks of the cycle; `gate`: under one outer lock; `turned`: step so-and-so takes its '
        'locks the other way."""'
    )
    yield '    outer = Mutex("gate")'
    for lock, variable in variables.items():
        yield f"    {variable} = {kinds[lock]}({_literal(lock)})"
    if found[0].held == found[0].wanted:
        yield from _alone(found[0], kinds, variables)
    else:
        yield from _tasks(found, kinds, variables)
    yield ""
    yield ""
    yield f'scenario("{name}", era="6.1", expect="deadlock", without=tuple(sorted(WITHOUT)), observers=list)(program)'
    yield ""
    yield ""
    yield "def test_these_orders_deadlock() -> None:"
    yield '    result = explore(program, strategy="pct", executions=300, settings=Settings(without=WITHOUT))'
    yield '    assert [one.failure.kind for one in result.failures] == ["deadlock"]'
    yield ""
    yield ""
    yield "def test_a_gate_lock_or_one_turned_step_makes_them_safe() -> None:"
    changes = "{'turned': 1}" if found[0].held == found[0].wanted else "{'gate': 1}, {'turned': 1}"
    yield f"    for change in ({changes},):"
    yield '        result = explore(lambda change=change: program(**change), strategy="pct", executions=300,'
    yield "                         settings=Settings(without=WITHOUT))"
    yield "        assert result.failures == []"


def _alone(step: _Step, kinds: dict[str, str], variables: dict[str, str]) -> Iterator[str]:
    """One lock, taken twice by one task, or by a handler that comes in while it is held."""
    lock = variables[step.held]
    take, drop = _CALLS[kinds[step.held], step.held_mode]
    inner = f"{lock}_2nd" if not step.irq else lock
    if not step.irq:
        yield f"    {inner} = {kinds[step.held]}({_literal(step.held)}) if turned else {lock}"
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


def _tasks(found: Sequence[_Step], kinds: dict[str, str], variables: dict[str, str]) -> Iterator[str]:
    names: list[str] = []
    for at, step in enumerate(found, 1):
        function = f"{_identifier(step.function)}_{at}"
        names.append(function)
        first, first_drop = _CALLS[kinds[step.held], step.held_mode]
        second, second_drop = _CALLS[kinds[step.wanted], step.wanted_mode]
        held, wanted = variables[step.held], variables[step.wanted]
        yield ""
        yield f"    def {function}() -> None:"
        yield f"        # Step {at}: {_doc(step.wanted)} wanted while {_doc(step.held)} was held."
        yield f"        if gate:\n            outer.{'lock'}()"
        yield f"        if turned == {at}:"
        yield f"            {wanted}.{second}()"
        yield f"            {held}.{first}()"
        yield f"            {held}.{first_drop}()"
        yield f"            {wanted}.{second_drop}()"
        yield "        else:"
        yield f"            {held}.{first}()"
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
        yield f"        # Readers of {_doc(between)} wait for each other only behind a writer that comes in between."
        yield "        if gate:\n            outer.lock()"
        yield f"        {variable}.down_write()"
        yield f"        {variable}.up_write()"
        yield "        if gate:\n            outer.unlock()"
    yield ""
    spawned = ", ".join(f'spawn({name}, name="{name}")' for name in names)
    yield f"    join({spawned})"


def _read_by_both(found: Sequence[_Step]) -> list[str]:
    """The classes that one step holds and another wants, both for read."""
    held = {step.held for step in found if step.held_mode == "read"}
    return [step.wanted for step in found if step.wanted_mode == "read" and step.wanted in held]


def _identifier(function: str) -> str:
    word = re.sub(r"\W+", "_", function).strip("_")
    word = word if word[:1].isalpha() or word[:1] == "_" else f"f_{word}"
    return f"{word}_" if word in _TAKEN else word.lstrip("_") or "step"


def _doc(text: str) -> str:
    """Text for a docstring or comment: nothing in it ends either."""
    return harmless(text).replace("\\", "/").replace('"""', "'''").replace("\n", " ")


def _literal(text: str) -> str:
    """A Python literal, of printable ASCII."""
    return ascii(text)
