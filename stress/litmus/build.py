"""From the syntax tree of a litmus test to code: actions of each process, and the question about the final state.

The code of a process is a list of steps, which both the search (`stress.litmus.machine`) and the engine
(`stress.litmus.engine`) go through: actions, assignments to registers, and jumps. There are no loops, so each step
happens at most once in an execution, and its number names what it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sugarbush.concurrency import Failure, Kind
from sugarbush.concurrency.lowlevel import Order, fail
from sugarbush.stress.litmus.calls import CALLS, Act, Call, Change, Changed, Location, NotANumber, number
from sugarbush.stress.litmus.source import BadLitmus, Litmus
from sugarbush.stress.litmus.syntax import Clause, Node, Process

Registers = list[Any]
Places = list[Any]
Value = Callable[[Registers, Places], Any]
"""The value of an expression, from the registers of its process and all locations."""
State = Callable[[int | None, str], Any]
"""The final value of a location (``None, name``) or of a register (process, name)."""
Question = Callable[[State], bool | None]
"""Whether a proposition holds; None if that is open, since values may still change (`State` gives `OPEN`)."""
OPEN: Any = object()

_LONGEST = 2000
"""Steps of all processes; the search keeps for each what may come after it."""
_COMPARES = {"==": lambda one, two: one == two, "!=": lambda one, two: one != two}
_NUMBERS: dict[str, Callable[[int, int], int]] = {
    "<": lambda one, two: one < two,
    "<=": lambda one, two: one <= two,
    ">": lambda one, two: one > two,
    ">=": lambda one, two: one >= two,
    "+": lambda one, two: one + two,
    "-": lambda one, two: one - two,
    "*": lambda one, two: one * two,
    "&": lambda one, two: one & two,
    "|": lambda one, two: one | two,
    "^": lambda one, two: one ^ two,
}


def _binary(operator: str, one: Any, two: Any) -> Any:
    """What C makes of two values; raises `NotANumber` for what has no meaning for the address of a location.

    An address and 0 are what tests make dependencies of that change nothing: ``y + (r0 & 0)``, ``r0 ^ r0``.
    """
    if operator in _COMPARES:
        return int(_COMPARES[operator](one, two))
    if not isinstance(one, int) or not isinstance(two, int):
        return _of_addresses(operator, one, two)
    if operator in ("/", "%"):
        if two == 0:
            raise ZeroDivisionError
        # C rounds towards zero, Python down.
        quotient = abs(one) // abs(two) * (1 if (one < 0) == (two < 0) else -1)
        return quotient if operator == "/" else one - two * quotient
    if operator in ("<<", ">>"):
        if not 0 <= two < 64:
            raise NotANumber
        return wrapped(one << two if operator == "<<" else one >> two)
    return wrapped(int(_NUMBERS[operator](one, two)))


def _of_addresses(operator: str, one: Any, two: Any) -> Any:
    if one is two and operator in ("-", "^"):
        return 0
    if one is two and operator in ("&", "|"):
        return one
    if two == 0 and operator in ("+", "-", "|", "^"):
        return one
    if one == 0 and operator in ("+", "|", "^"):
        return two
    if operator in ("&", "*") and (one == 0 or two == 0):
        return 0
    raise NotANumber


def wrapped(value: int) -> int:
    """What 64 bits hold of a number."""
    if -(1 << 63) <= value < 1 << 63:
        return value
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


@dataclass(slots=True, eq=False)
class Step:
    """A step of a process.

    An action has `act`; `at` is the number of its location, or -1 if `pointer` leads there, and `led` the registers
    that the address depends on. `values` are its other arguments, `fed` the registers that they depend on, `into` the
    register of its result (-1: nobody wants it). `domain` is that of a grace period or reader. `does` has the engine
    make the whole call that begins with this action. An `implied` action is part of an operation under sequential
    consistency. A step without an action sets a register (`into`, `pointer`), jumps to `target` if `pointer` says 0, or
    jumps there always (`pointer` None); `told` is a statement that is over, and its value if `pointer` has one.
    """

    line: int
    number: int = 0
    act: Act | None = None
    at: int = -1
    pointer: Value | None = None
    led: tuple[int, ...] = ()
    values: tuple[Value, ...] = ()
    fed: tuple[int, ...] = ()
    into: int = -1
    order: Order = Order.RELAXED
    plain: bool = False
    change: Change | None = None
    silent: bool = False
    must: bool = False
    """The cmpxchg() has not failed before its barrier."""
    down: bool = False
    """The reader may be ended by another process: srcu_down_read()."""
    domain: int = 0
    does: Callable[[Registers, Places], Any] | None = None
    implied: bool = False
    completes: Act | None = None
    """It is a barrier if this comes before it, or after it (`ahead`)."""
    ahead: bool = False
    target: int = -1
    told: str = ""


@dataclass(slots=True)
class Code:
    """A process: its steps, the names of its registers, and what those hold at the start."""

    number: int
    steps: list[Step] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    first: dict[str, int | str] = field(default_factory=dict)
    size: int = 0


@dataclass(slots=True)
class Built:
    """A litmus test as code.

    `kinds` has for each location what it is (``p`` memory, ``l`` spinlock, ``s`` srcu_struct), in the order of their
    numbers; `initial` the values that are not 0: a number, or the name of a location whose address it is. `plain` says
    that there are accesses without a mark. `asks` is the proposition of the question, `quantifier` what it is asked of.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    initial: dict[str, int | str] = field(default_factory=dict)
    processes: list[Code] = field(default_factory=list)
    asked: list[tuple[int | None, str]] = field(default_factory=list)
    asks: Question | None = None
    quantifier: str = "exists"
    spelt: str = ""
    filtered: Question | None = None
    plain: bool = False
    steps: int = 0

    def index(self, name: str) -> int:
        """The number of a location."""
        return list(self.kinds).index(name)

    def registers(self, code: Code, places: Places) -> Registers:
        """What the registers of a process hold at the start."""
        made: Registers = [0] * code.size
        for name, value in code.first.items():
            made[code.names[name]] = places[self.index(value)] if isinstance(value, str) else value
        return made


def build(test: Litmus) -> Built:
    """The program of a test; raises `BadLitmus` for what has no meaning."""
    return _Builder(test).built


class _Builder:
    def __init__(self, test: Litmus) -> None:
        self._test = test
        self.built = built = Built()
        self._first: dict[int, dict[str, int | str]] = {}
        tree = test.tree
        self._inits()
        for process in tree.processes:
            self._parameters(process)
        values = [*built.initial.values(), *(v for first in self._first.values() for v in first.values())]
        for value in values:
            if isinstance(value, str):
                built.kinds.setdefault(value, "p")
        for process in tree.processes:
            if any(code.number == process.number for code in built.processes):
                self.bad(process.line, f"there are two processes P{process.number}")
            built.processes.append(_Process(self, process, self._first.get(process.number, {})).code)
        for clause in tree.clauses:
            self._clause(clause)
        if built.asks is None:
            raise BadLitmus(f"{test.path} asks nothing: it has no exists, ~exists or forall")

    def bad(self, line: int, says: str) -> NoReturn:
        """Refuse what stands in a line."""
        raise BadLitmus(f"{self._test.path}, line {line}: {says}")

    # -- locations ------------------------------------------------------------------------------------------------

    def _inits(self) -> None:
        built = self.built
        seen: set[tuple[int | None, str]] = set()
        numbers = {process.number for process in self._test.tree.processes}
        for kind, process, name, value, line in self._test.tree.init:
            if (process, name) in seen:
                where = name if process is None else f"{process}:{name}"
                self.bad(line, f"{where} has two initial values")
            seen.add((process, name))
            if process is not None:
                if process not in numbers:
                    self.bad(line, f"there is no process P{process}")
                self._first.setdefault(process, {})[name] = 0 if value is None else value
                continue
            built.kinds[name] = kind or "p"
            if value is None:
                continue
            if built.kinds[name] != "p":
                if value != 0:
                    self.bad(line, f"the lock {name} begins free")
                continue
            built.initial[name] = value

    def _parameters(self, process: Process) -> None:
        kinds = self.built.kinds
        for kind, name, line in process.parameters:
            if kinds.setdefault(name, kind) != kind:
                if kind == "p":
                    self.bad(line, f"{name} is a lock elsewhere")
                if name in self.built.initial:
                    self.bad(line, f"the lock {name} begins free")
                kinds[name] = kind

    # -- the question -----------------------------------------------------------------------------------------------

    def _clause(self, clause: Clause) -> None:
        built = self.built
        if clause.kind == "locations":
            for place, line in clause.says:
                self._asked(place, line)
            return
        says = self._proposition(clause.says)
        if clause.kind == "filter":
            if built.filtered is not None:
                self.bad(clause.line, "there are two filters: join them by /\\")
            built.filtered = says
            return
        if built.asks is not None:
            self.bad(clause.line, "the test asks two questions: it has one exists, ~exists or forall")
        built.spelt = clause.text
        built.quantifier = clause.kind
        built.asks = says

    def _asked(self, place: Node, line: int) -> tuple[int | None, str]:
        asked: tuple[int | None, str] = (place[0], place[1])
        process, name = asked
        if process is not None:
            code = next((code for code in self.built.processes if code.number == process), None)
            if code is None:
                self.bad(line, f"there is no process P{process}")
            # One that is never set is 0 for herd7, too; but it is asked for by mistake.
            if name not in code.names:
                code.names[name] = code.size
                code.size += 1
        elif name not in self.built.kinds:
            self.bad(line, f"there is no location {name}")
        elif self.built.kinds[name] != "p":
            self.bad(line, f"{name} is a lock: what it holds at the end is not asked")
        if asked not in self.built.asked:
            self.built.asked.append(asked)
        return asked

    def _proposition(self, node: Node) -> Question:
        kind = node[0]
        if kind == "equal":
            return self._equal(node)
        if kind in ("true", "false"):
            return lambda _state: kind == "true"
        if kind == "not":
            one = self._proposition(node[1])
            return lambda state: None if (holds := one(state)) is None else not holds
        parts = [self._proposition(part) for part in node[1]]
        # One part may decide while others are open.
        decides = kind == "or"

        def joined(state: State) -> bool | None:
            found: bool | None = not decides
            for part in parts:
                holds = part(state)
                if holds is decides:
                    return decides
                if holds is None:
                    found = None
            return found

        return joined

    def _equal(self, node: Node) -> Question:
        _, place, wanted, line = node
        asked = self._asked(place, line)
        if isinstance(wanted, tuple):
            other = self._asked(wanted, line)

            def same(state: State) -> bool | None:
                one, two = state(*asked), state(*other)
                return None if one is OPEN or two is OPEN else bool(one == two)

            return same
        if isinstance(wanted, str) and self.built.kinds.get(wanted) != "p":
            self.bad(line, f"there is no location {wanted}")

        def equal(state: State) -> bool | None:
            value = state(*asked)
            return None if value is OPEN else bool(value == wanted)

        return equal


class _Process:
    """One process as code, in which the names of locations are their addresses."""

    def __init__(self, builder: _Builder, process: Process, first: dict[str, int | str]) -> None:
        self._builder = builder
        self._built = builder.built
        self._places = {name: number for number, name in enumerate(builder.built.kinds)}
        self._own: set[str] = set()
        """Registers that were declared, and so hide a location of that name."""
        self._passed = {name for _, name, _ in process.parameters}
        self.code = Code(process.number, first=first)
        for name in first:
            self._register(name)
        self._statement(process.body)
        self._spare_fences()

    def _spare_fences(self) -> None:
        """Barriers that complete an operation are none where it is missing.

        ``smp_mb__before_atomic()`` orders what is before it against an atomic operation after it (linux-kernel.cat:
        ``[M] ; fencerel(Before-atomic) ; [RMW] ; po? ; [M]``), the others likewise.
        """
        steps = self.code.steps
        for at, step in enumerate(steps):
            completes = step.completes
            if completes is None:
                continue
            acts = (Act.LOCK, Act.TRYLOCK) if completes is Act.LOCK else (completes,)
            near = [other for other in (steps[at:] if step.ahead else steps[:at]) if other.act in acts]
            if completes is Act.READER_ENDS:
                # smp_mb__after_srcu_read_unlock() says nothing of plain RCU.
                near = [other for other in near if other.domain >= 0]
            if not near:
                steps[at] = Step(step.line, step.number, target=at + 1)

    # -- statements -----------------------------------------------------------------------------------------------

    def _statement(self, node: Node) -> None:
        kind = node[0]
        if kind == "block":
            for inner in node[1]:
                self._statement(inner)
        elif kind == "declare":
            for name, value, line, text in node[1]:
                if name in self._passed:
                    self._builder.bad(line, f"{name} is a parameter already")
                made = None if value is None else self._expression(value)
                self._own.add(name)
                register = self._register(name)
                if made is not None:
                    self._set(register, made, line)
                    self._told(line, text, self._of(register))
        elif kind == "assign":
            self._assign(node)
        elif kind == "do":
            _, expression, line, text = node
            value = self._expression(expression)
            given = None if expression[0] == "call" and self._gives_nothing(expression) else value
            self._told(line, text, given)
        else:
            self._if(node)

    @staticmethod
    def _gives_nothing(node: Node) -> bool:
        call = CALLS.get(node[1])
        return call is not None and (call.silent or not _gives(call))

    def _assign(self, node: Node) -> None:
        _, place, value, line, text = node
        made = self._expression(value)
        if place[0] == "name":
            name = place[1]
            if self._is_place(name):
                self._builder.bad(line, f"{name} is a location: *{name} writes to it")
            register = self._register(name)
            self._set(register, made, line)
            self._told(line, text, self._of(register))
            return
        self._built.plain = True
        step = Step(line, act=Act.WRITE, plain=True, values=(made[0],), fed=made[1])
        address = self._address(place[1], step, line)

        def does(registers: Registers, places: Places) -> None:
            address(registers, places).v = made[0](registers, places)

        step.does = does
        self._add(step)
        self._told(line, text, None)

    def _if(self, node: Node) -> None:
        _, condition, then, otherwise, line = node
        skips = self._jump(self._expression(condition), line)
        self._statement(then)
        if otherwise is None:
            skips.target = len(self.code.steps)
            return
        over = Step(line)
        self._add(over)
        skips.target = len(self.code.steps)
        self._statement(otherwise)
        over.target = len(self.code.steps)

    def _jump(self, condition: tuple[Value, tuple[int, ...]], line: int) -> Step:
        """Jump, to where the caller says, if a condition is 0."""
        step = Step(line, pointer=condition[0], led=condition[1])
        self._add(step)
        return step

    def _add(self, step: Step) -> None:
        self._built.steps += 1
        if self._built.steps > _LONGEST:
            self._builder.bad(step.line, f"the test is longer than any: more than {_LONGEST} steps")
        step.number = self._built.steps
        self.code.steps.append(step)

    def _told(self, line: int, text: str, value: tuple[Value, tuple[int, ...]] | None) -> None:
        self._add(Step(line, told=text, pointer=None if value is None else value[0]))

    # -- registers ------------------------------------------------------------------------------------------------

    def _register(self, name: str) -> int:
        found = self.code.names.get(name)
        if found is None:
            found = self.code.names[name] = self.code.size
            self.code.size += 1
        return found

    def _fresh(self) -> int:
        self.code.size += 1
        return self.code.size - 1

    @staticmethod
    def _of(register: int) -> tuple[Value, tuple[int, ...]]:
        return lambda registers, _places: registers[register], (register,)

    def _set(self, register: int, made: tuple[Value, tuple[int, ...]], line: int) -> None:
        self._add(Step(line, into=register, pointer=made[0], fed=made[1]))

    def _is_place(self, name: str) -> bool:
        return name in self._places and name not in self._own and name not in self.code.first

    # -- expressions ----------------------------------------------------------------------------------------------

    def _expression(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        """The value of an expression, whose accesses are steps before it, and the registers that it depends on."""
        kind = node[0]
        if kind == "number":
            value = node[1]
            return lambda _registers, _places: value, ()
        if kind == "name":
            return self._name(node)
        if kind == "load":
            return self._load(node)
        if kind == "call":
            return self._call(node)
        if kind == "address":
            inner = node[1]
            if inner[0] != "name" or not self._is_place(inner[1]):
                self._builder.bad(node[2], "only a location has an address, as in &x")
            return self._name(inner)
        if kind == "unary":
            return self._unary(node)
        _, operator, one, two, line = node
        if operator in ("&&", "||"):
            return self._either(node)
        left, led = self._expression(one)
        right, fed = self._expression(two)
        return self._computed(
            lambda registers, places: _binary(operator, left(registers, places), right(registers, places)),
            operator,
            line,
        ), _union(led, fed)

    def _computed(self, value: Value, operator: str, line: int) -> Value:
        builder = self._builder

        def computed(registers: Registers, places: Places) -> Any:
            try:
                return value(registers, places)
            except NotANumber:
                builder.bad(
                    line,
                    f"{operator} has no meaning for these values, one of which is an address or too large",
                )
            except ZeroDivisionError:
                builder.bad(line, f"{operator} divides by zero")

        return computed

    def _unary(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        _, operator, inner, line = node
        value, led = self._expression(inner)
        if operator == "!":
            return lambda registers, places: int(not _truth(value(registers, places))), led
        if operator == "-":
            negative: Value = lambda registers, places: wrapped(-number(value(registers, places)))  # noqa: E731
            return self._computed(negative, operator, line), led
        return self._computed(
            lambda registers, places: ~number(value(registers, places)), operator, line
        ), led

    def _either(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        """``&&`` and ``||``: what stands on the right is not done if the left decides."""
        _, operator, one, two, line = node
        value, led = self._expression(one)
        wants = int(operator == "&&")
        register = self._fresh()
        truth: Value = lambda registers, places: int(_truth(value(registers, places)))  # noqa: E731
        self._set(register, (truth, led), line)
        held = self._of(register)[0]
        skips = self._jump(
            (lambda registers, places: int(held(registers, places) == wants), (register,)), line
        )
        right, fed = self._expression(two)
        both: Value = lambda registers, places: int(_truth(right(registers, places)))  # noqa: E731
        self._set(register, (both, _union(fed, (register,))), line)
        skips.target = len(self.code.steps)
        return self._of(register)

    def _name(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        _, name, line = node
        if self._is_place(name):
            place = self._places[name]
            return lambda _registers, places: places[place], ()
        if name not in self.code.names:
            self._builder.bad(line, f"{name} is neither a location nor a register that was set")
        return self._of(self.code.names[name])

    def _address(self, node: Node, step: Step, line: int) -> Callable[[Registers, Places], Any]:
        """Has `step` lead to the location at an address; gives that location to the engine.

        A location by its name depends on nothing, also if a pointer leads to it elsewhere.
        """
        static = self._static(node)
        if static is not None:
            if self._built.kinds[static] != "p":
                self._builder.bad(line, f"{static} is a lock: only functions for locks take it")
            step.at = place = self._places[static]
            return lambda _registers, places: places[place]
        value, step.led = self._expression(node)
        step.pointer = value
        spelt = node[1] if node[0] == "name" else "an address"

        def leads(registers: Registers, places: Places) -> Any:
            found = value(registers, places)
            if not isinstance(found, Location):
                fail(Failure(Kind.BUG_ON, f"BUG: kernel NULL pointer dereference: {spelt} is {found}"))
            return found

        return leads

    def _static(self, node: Node) -> str | None:
        if node[0] == "address":
            node = node[1]
        if node[0] == "name" and self._is_place(node[1]):
            return str(node[1])
        return None

    def _load(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        _, address, line = node
        self._built.plain = True
        step = Step(line, act=Act.READ, plain=True, into=self._fresh())
        into = step.into
        at = self._address(address, step, line)

        def does(registers: Registers, places: Places) -> None:
            registers[into] = at(registers, places).v

        step.does = does
        self._add(step)
        return self._of(into)

    def _call(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        _, name, given, line = node
        call = CALLS.get(name)
        if call is None:
            self._builder.bad(line, f"{name}() is not known here")
        if len(given) != len(call.arguments):
            self._builder.bad(line, f"{name}() takes {len(call.arguments)} arguments, not {len(given)}")
        main = Step(line, order=call.order, change=call.change, silent=call.silent)
        main.down = name == "srcu_down_read"
        arguments: list[Value] = []
        values: list[Value] = []
        fed: tuple[int, ...] = ()
        for want, argument in zip(call.arguments, given, strict=True):
            part = argument
            if want in "*p":
                if want == "*":
                    if part[0] != "load":
                        self._builder.bad(line, f"{name}() takes a location, as in {name}(*x)")
                    part = part[1]
                arguments.append(self._address(part, main, line))
            elif want in "ls":
                static = self._static(part)
                if static is None or self._built.kinds[static] != want:
                    what = "spinlock" if want == "l" else "srcu_struct"
                    self._builder.bad(line, f"{name}() takes a {what}")
                main.at = main.domain = self._places[static]
                place = main.at
                arguments.append(lambda _registers, places, place=place: places[place])  # type: ignore[misc]
            else:
                value, depends = self._expression(part)
                arguments.append(value)
                values.append(value)
                fed = _union(fed, depends)
        return self._acts(call, main, arguments, values, fed)

    def _acts(
        self, call: Call, main: Step, arguments: list[Value], values: list[Value], fed: tuple[int, ...]
    ) -> tuple[Value, tuple[int, ...]]:
        """Add the actions of a call."""
        into = self._fresh()
        builder, line = self._builder, main.line

        def does(registers: Registers, places: Places) -> None:
            try:
                registers[into] = call.does(*[argument(registers, places) for argument in arguments])
            except NotANumber:
                builder.bad(line, "an address is no number to compute with")

        main.values, main.fed, main.into = tuple(values), fed, into
        if call.change is not None:
            main.change = self._checked(call.change, line)
        if "s" not in call.arguments:
            # Plain RCU is no location.
            main.domain = -1
        steps: list[Step] = []
        for act in call.acts:
            if act is Act.MB:
                steps.append(Step(line, act=act, implied=len(call.acts) > 2))
            else:
                copy = _copy(main)
                copy.act = act
                copy.must = act is Act.MODIFY and call.acts[0] is Act.LOOK
                copy.implied = act is Act.LOOK
                steps.append(copy)
        if steps:
            steps[0].does = does
        for step in steps:
            self._add(step)
            step.completes, step.ahead = call.completes, call.ahead
        if call.acts[:1] == (Act.LOOK,):
            steps[0].target = len(self.code.steps)
        return self._of(into)

    def _checked(self, change: Change, line: int) -> Change:
        builder = self._builder

        def checked(*values: Any) -> Changed:
            try:
                return change(*values)
            except NotANumber:
                builder.bad(line, "an address is no number to compute with")

        return checked


def _gives(call: Call) -> bool:
    return any(act in (Act.READ, Act.MODIFY, Act.TRYLOCK, Act.IS_LOCKED) for act in call.acts) or (
        call.acts == (Act.READER,) and call.arguments == "s"
    )


def _copy(step: Step) -> Step:
    return Step(
        step.line,
        at=step.at,
        pointer=step.pointer,
        led=step.led,
        values=step.values,
        fed=step.fed,
        into=step.into,
        order=step.order,
        change=step.change,
        silent=step.silent,
        down=step.down,
        domain=step.domain,
    )


def _union(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(one + other))


def _truth(value: Any) -> bool:
    """An address is never NULL."""
    return isinstance(value, Location) or bool(value)
