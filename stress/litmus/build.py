"""From the syntax tree of a litmus test to a program: tasks, locations, and the question about the final state."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lark import Token, Tree

from concurrency import Failure, Kind, Spinlock, SrcuStruct, active, fail
from stress.litmus.calls import CALLS, Location
from stress.litmus.source import BadLitmus, Litmus

Registers = dict[str, Any]
Code = Callable[[Registers], Any]
State = Callable[[str | int, str], Any]
"""The final value of a location (``"*", name``) or of a register (process, name)."""
Question = Callable[[State], bool]
_Node = Tree[Token]

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "==": lambda one, two: int(one == two),
    "!=": lambda one, two: int(one != two),
    "<": lambda one, two: int(one < two),
    "<=": lambda one, two: int(one <= two),
    ">": lambda one, two: int(one > two),
    ">=": lambda one, two: int(one >= two),
}


def _location(name: str) -> Location:
    return Location(name=name)


_KINDS = {"spinlock_t": "l", "srcu_struct": "s"}


@dataclass(slots=True)
class Built:
    """A litmus test as code.

    `kinds` has for each location what it is (``p`` memory, ``l`` spinlock, ``s`` srcu_struct), `initial` the values
    that are not 0: a number, or the name of a location whose address it is. `plain` says that there are
    accesses without a mark.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    initial: dict[str, int | str] = field(default_factory=dict)
    registers: dict[tuple[int, str], int | str] = field(default_factory=dict)
    processes: dict[int, Code] = field(default_factory=dict)
    asked: list[tuple[str | int, str]] = field(default_factory=list)
    question: Question | None = None
    quantifier: str = "exists"
    spelt: str = ""
    filtered: Question | None = None
    plain: bool = False

    def locations(self) -> dict[str, Any]:
        """Fresh locations with their initial values."""
        makers: dict[str, Callable[[str], Any]] = {"l": Spinlock, "s": SrcuStruct, "p": _location}
        made = {name: makers[kind](name) for name, kind in self.kinds.items()}
        for name, value in self.initial.items():
            made[name].v = made[value] if isinstance(value, str) else value
        return made


def build(test: Litmus) -> Built:
    """The program of a test; raises `BadLitmus` for what has no meaning."""
    return _Builder(test).built


class _Builder:
    def __init__(self, test: Litmus) -> None:
        self._test = test
        self.built = built = Built()
        children = [node for node in test.tree.children if isinstance(node, Tree)]
        for item in children[0].children:
            if isinstance(item, Tree):
                self._init(item)
        processes = [node for node in children if node.data == "process"]
        for node in processes:
            self._parameters(node)
        for value in [*built.initial.values(), *built.registers.values()]:
            if isinstance(value, str):
                built.kinds.setdefault(value, "p")
        for node in processes:
            number = int(str(node.children[0])[1:])
            if number in built.processes:
                self._bad(node, f"there are two processes P{number}")
            built.processes[number] = _Process(self, node, number).code
        clauses = [node for node in children[1:] if node.data != "process"]
        for node in clauses:
            self._clause(node)
        if built.question is None:
            raise BadLitmus(f"{test.path} asks nothing: it has no exists, ~exists or forall")

    def bad(self, node: Any, says: str) -> BadLitmus:
        """An error at the line of `node`."""
        position = node if isinstance(node, Token) else node.meta
        return BadLitmus(f"{self._test.path}, line {getattr(position, 'line', '?')}: {says}")

    def _bad(self, node: Any, says: str) -> None:
        raise self.bad(node, says)

    def text(self, node: _Node) -> str:
        """The source of a node, on one line."""
        return " ".join(self._test.text[node.meta.start_pos : node.meta.end_pos].split()).rstrip(";")

    # -- locations ------------------------------------------------------------------------------------------------

    def _init(self, item: _Node) -> None:
        built = self.built
        if item.data == "init_register":
            _, process, name, value = item.children
            built.registers[int(str(process)), str(name)] = self._value(value)
            return
        kind, name, value = item.children
        built.kinds[str(name)] = self._kind(kind)
        if value is not None:
            if built.kinds[str(name)] != "p":
                if self._value(value) != 0:
                    self._bad(item, f"the lock {name} begins free")
                return
            built.initial[str(name)] = self._value(value)

    def _kind(self, kind: Any) -> str:
        return "p" if kind is None else _KINDS.get(str(kind.children[0]), "p")

    def _value(self, node: Any) -> int | str:
        if node.data == "init_macro":
            return int(str(node.children[1]), 0)
        value = str(node.children[0])
        return value if node.data == "init_address" else int(value, 0)

    def _parameters(self, process: _Node) -> None:
        kinds = self.built.kinds
        for node in process.children[1:-1]:
            if not isinstance(node, Tree):
                continue
            kind, name = node.children
            found = self._kind(kind)
            if kinds.setdefault(str(name), found) != found:
                if found == "p":
                    self._bad(node, f"{name} is a lock elsewhere")
                kinds[str(name)] = found

    # -- the question -----------------------------------------------------------------------------------------------

    def _clause(self, node: _Node) -> None:
        built = self.built
        if node.data == "shown":
            for each in node.children:
                if isinstance(each, Tree):
                    self._asked(each.children[0])
            return
        says = self._proposition(node.children[0])
        if node.data == "filter":
            built.filtered = says
            return
        built.spelt = self.text(node)
        built.quantifier = str(node.data)
        built.question = says if node.data != "forall" else lambda state: not says(state)

    def _asked(self, place: Any) -> tuple[str | int, str]:
        if place.data == "of_process":
            asked: tuple[str | int, str] = (int(str(place.children[0])), str(place.children[1]))
            if asked[0] not in self.built.processes:
                self._bad(place, f"there is no process P{asked[0]}")
        else:
            asked = ("*", str(place.children[0]))
            if self.built.kinds.get(asked[1]) != "p":
                self._bad(place, f"there is no location {asked[1]}")
        if asked not in self.built.asked:
            self.built.asked.append(asked)
        return asked

    def _proposition(self, node: Any) -> Question:
        if node.data in ("p_equal", "p_differ"):
            place, value = node.children[0], self._value(node.children[-1])
            asked = self._asked(place)
            if isinstance(value, str) and self.built.kinds.get(value) != "p":
                self._bad(node, f"there is no location {value}")
            equal = node.data == "p_equal"
            return lambda state: (state(*asked) == value) == equal
        if node.data in ("p_true", "p_false"):
            return lambda _state: node.data == "p_true"
        parts = [self._proposition(child) for child in node.children if isinstance(child, Tree)]
        if node.data == "p_not":
            return lambda state: not parts[0](state)
        if node.data == "p_and":
            return lambda state: parts[0](state) and parts[1](state)
        return lambda state: parts[0](state) or parts[1](state)


class _Process:
    """One process as code: a function of its registers, in which the names of locations are their addresses."""

    def __init__(self, builder: _Builder, node: _Node, number: int) -> None:
        self._builder = builder
        self._names = set(builder.built.kinds)
        self._registers = {name for process, name in builder.built.registers if process == number}
        body = node.children[-1]
        assert isinstance(body, Tree)
        self.code = self._statement(body)

    def _statement(self, node: _Node) -> Code:
        parts = node.children
        if node.data == "block":
            steps = [self._statement(part) for part in parts if isinstance(part, Tree)]

            def run(registers: Registers) -> None:
                for step in steps:
                    step(registers)

            return run
        if node.data == "declare":
            return self._declare(node)
        if node.data == "assign":
            place, value = parts
            assert isinstance(place, Tree)
            return self._told(node, self._assign(place, self._expression(value)))
        if node.data == "if_":
            condition, then = self._expression(parts[0]), self._statement(self._tree(parts[1]))
            otherwise = None if parts[2] is None else self._statement(self._tree(parts[2]))

            def branch(registers: Registers) -> None:
                if condition(registers):
                    then(registers)
                elif otherwise is not None:
                    otherwise(registers)

            return branch
        if node.data == "do":
            return self._told(node, self._expression(parts[0]))
        return lambda _registers: None

    @staticmethod
    def _tree(node: Any) -> _Node:
        assert isinstance(node, Tree)
        return node

    def _declare(self, node: _Node) -> Code:
        steps = []
        for declared in node.children[1:]:
            assert isinstance(declared, Tree)
            _, name, value = [None, *[part for part in declared.children if str(part) != "*"]]
            self._registers.add(str(name))
            if value is not None:
                steps.append(self._told(declared, self._set(str(name), self._expression(value))))

        def run(registers: Registers) -> None:
            for step in steps:
                step(registers)

        return run

    def _told(self, node: _Node, code: Code) -> Code:
        """`code`, which says what it did when somebody listens."""
        text = self._builder.text(node)

        def run(registers: Registers) -> None:
            value = code(registers)
            rt = active.runtime
            if rt is not None and rt.tracing:
                told = getattr(value, "name", value)
                rt.trace(text if value is None else f"{text} -> {told}", {})

        return run

    def _set(self, name: str, value: Code) -> Code:
        def run(registers: Registers) -> Any:
            registers[name] = found = value(registers)
            return found

        return run

    def _assign(self, place: _Node, value: Code) -> Code:
        name = str(place.children[0])
        if place.data == "register":
            if name in self._names:
                raise self._builder.bad(place, f"{name} is a location: *{name} writes to it")
            self._registers.add(name)
            return self._set(name, value)
        self._builder.built.plain = True
        at = self._pointer(place, name)

        def run(registers: Registers) -> None:
            at(registers).v = value(registers)

        return run

    def _name(self, node: Any, name: str) -> Code:
        if name not in self._names and name not in self._registers:
            raise self._builder.bad(node, f"{name} is neither a location nor a register that was set")
        return lambda registers: registers.get(name, 0)

    def _pointer(self, node: Any, name: str) -> Code:
        """The location that a name leads to."""
        value = self._name(node, name)

        def run(registers: Registers) -> Location:
            found = value(registers)
            if not isinstance(found, Location):
                fail(Failure(Kind.BUG_ON, f"BUG: kernel NULL pointer dereference: {name} is {found}"))
            return found

        return run

    def _expression(self, node: Any) -> Code:
        parts = node.children
        kind = node.data
        if kind == "number":
            value = int(str(parts[0]), 0)
            return lambda _registers: value
        if kind in ("register", "address"):
            return self._name(node, str(parts[0]))
        if kind == "location":
            self._builder.built.plain = True
            at = self._pointer(node, str(parts[0]))
            return lambda registers: at(registers).v
        if kind == "call":
            return self._call(node)
        if kind == "cast":
            return self._expression(parts[1])
        if kind == "binary":
            one, two, does = self._expression(parts[0]), self._expression(parts[2]), _BINARY[str(parts[1])]
            return lambda registers: does(one(registers), two(registers))
        operands = [self._expression(part) for part in parts]
        if kind == "and_":
            return lambda registers: int(bool(operands[0](registers)) and bool(operands[1](registers)))
        if kind == "or_":
            return lambda registers: int(bool(operands[0](registers)) or bool(operands[1](registers)))
        if kind == "not_":
            return lambda registers: int(not operands[0](registers))
        if kind == "negative":
            return lambda registers: -operands[0](registers)
        return lambda registers: ~operands[0](registers)

    def _call(self, node: Any) -> Code:
        name = str(node.children[0])
        given = [part for part in node.children[1:] if part is not None]
        call = CALLS.get(name)
        if call is None:
            raise self._builder.bad(node, f"{name}() is not known here")
        if len(given) != len(call.arguments):
            raise self._builder.bad(node, f"{name}() takes {len(call.arguments)} arguments, not {len(given)}")
        arguments = [
            self._argument(name, want, part) for want, part in zip(call.arguments, given, strict=True)
        ]
        does = call.does
        if not arguments:
            return lambda _registers: does()
        if len(arguments) == 1:
            only = arguments[0]
            return lambda registers: does(only(registers))
        return lambda registers: does(*[argument(registers) for argument in arguments])

    def _argument(self, call: str, want: str, part: Any) -> Code:
        if want == "v":
            return self._expression(part)
        if want == "*" and part.data != "location":
            raise self._builder.bad(part, f"{call}() takes a location, as in {call}(*x)")
        if want in "*p":
            if part.data not in ("location", "register", "address"):
                raise self._builder.bad(part, f"{call}() takes the name of a location")
            return self._pointer(part, str(part.children[0]))
        name = str(part.children[0])
        if part.data not in ("register", "address") or self._builder.built.kinds.get(name) != want:
            raise self._builder.bad(part, f"{call}() takes a {'spinlock' if want == 'l' else 'srcu_struct'}")
        return self._name(part, name)
