"""The syntax of litmus tests for C: from text without comments to trees of tuples, each with its line.

The language is that of herd7's parser for C and for final states (lib/CParser.mly, lib/stateParser.mly there), as far
as tests for the kernel use it. An expression is a tuple whose first part says what it is:

    ("number", 5)   ("name", "x", line)   ("load", address, line)   ("address", expression, line)
    ("call", "READ_ONCE", (arguments), line)   ("unary", "!", one, line)   ("binary", "+", one, other, line)

Casts and parentheses leave nothing behind. `parse` is a recursive descent by hand: it says where it was in words, and
is several times as fast as tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

Node = tuple[Any, ...]

_TOKEN = re.compile(
    r"(?P<number>0[xX][0-9a-fA-F]+|[0-9]+)(?P<glued>[A-Za-z_0-9]*)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<symbol>/\\|\\/|==|!=|<=|>=|=>|<>|&&|\|\||<<|>>|->|[{}()\[\],;:*&|^+\-/%~!<>=.])"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)"
)
_SUFFIX = re.compile(r"[uUlL]{0,3}")
_DEEPEST = 100
"""Parentheses, blocks and operators before one operand: so deep nothing is nested that somebody has written."""
_LONGEST = 300
"""Operators in one row: what they make is as deep."""
_WIDEST = 64
"""Bits of a number."""

TYPES = frozenset((
    "int", "long", "char", "short", "bool", "_Bool", "void", "signed", "unsigned", "uint", "atomic_t", "atomic_long_t",
    "atomic_int", "spinlock_t", "raw_spinlock_t", "srcu_struct", "intptr_t", "uintptr_t", "size_t", "ssize_t",
    "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "int8_t", "int16_t", "int32_t", "int64_t",
    "uint8_t", "uint16_t", "uint32_t", "uint64_t",
))  # fmt: skip
_QUALIFIERS = frozenset(("volatile", "const", "struct", "_Atomic", "__percpu", "__rcu", "static"))
_LOCKS = {"spinlock_t": "l", "raw_spinlock_t": "l", "srcu_struct": "s"}
_LOOPS = frozenset(("while", "for", "do", "goto", "switch", "return", "break", "continue"))
_BINARY = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, "<=": 7, ">": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
"""How tightly the operators of C bind."""


class Wrong(Exception):
    """Something is no litmus test: where, and what."""

    def __init__(self, line: int, says: str) -> None:
        super().__init__(says)
        self.line = line


class Token(NamedTuple):
    """A piece of text: ``number``, ``name``, ``symbol`` or ``end``, and where it begins."""

    kind: str
    text: str
    line: int
    at: int


class Init(NamedTuple):
    """An initial value: `kind` is ``p`` (memory), ``l`` (spinlock) or ``s`` (srcu_struct), None where nothing says so.

    `process` is None for a location; `value` a number, or the name of a location whose address it is.
    """

    kind: str | None
    process: int | None
    name: str
    value: int | str | None
    line: int


@dataclass(slots=True)
class Process:
    """A process: its parameters (kind, name, line), and its statements.

    A statement is ``("declare", [(name, expression or None, line, text)])``, ``("assign", target, value, line, text)``,
    ``("if", condition, then, otherwise, line)``, ``("do", expression, line, text)`` or ``("block", [statements])``.
    """

    number: int
    line: int
    parameters: list[tuple[str, str, int]] = field(default_factory=list)
    body: Node = ("block", ())


class Clause(NamedTuple):
    """``exists``, ``~exists``, ``forall`` or ``filter`` with its proposition; ``locations`` with its places.

    A proposition is ``("and", [...])``, ``("or", [...])``, ``("not", one)``, ``("true",)``, ``("false",)`` or
    ``("equal", place, value, line)``; a place is (process or None, name), a value also a number or the name of a
    location as text.
    """

    kind: str
    says: Any
    line: int
    text: str


@dataclass(slots=True)
class Parsed:
    """The tree of a test."""

    init: list[Init]
    processes: list[Process]
    clauses: list[Clause]


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text; raises `Wrong` at the first character that begins none."""
    found: list[Token] = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "space":
            line += match[0].count("\n")
        elif kind == "glued":
            if not _SUFFIX.fullmatch(match["glued"]):
                raise Wrong(line, f"this is not understood: {_shown(match[0])}")
            found.append(Token("number", match["number"], line, match.start()))
        elif kind == "other":
            raise Wrong(line, f"this is not understood: {_shown(text[match.start() :])}")
        else:
            found.append(Token(str(kind), match[0], line, match.start()))
    found.append(Token("end", "", line, len(text)))
    return found


def _shown(text: str) -> str:
    # What does not print would be a line of its own, or none, in a message of one line.
    words = "".join(one if one.isprintable() else "?" for one in " ".join(text[:80].split()))
    return repr(words[:40])


def parse(text: str) -> Parsed:
    """The tree of a test whose header and comments are blanks; raises `Wrong`."""
    return _Parser(text).test()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._at = 0
        self._depth = 0
        self._next = self._tokens[0]

    # -- tokens -------------------------------------------------------------------------------------------------

    def _take(self) -> Token:
        token = self._next
        if token.kind != "end":
            self._at += 1
            self._next = self._tokens[self._at]
        return token

    def _is(self, text: str) -> bool:
        # A name and a symbol never have the same text, so the text is enough.
        return self._next.text == text and self._next.kind != "number"

    def _ahead(self, count: int) -> Token:
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    def _took(self, text: str) -> bool:
        if self._is(text):
            self._take()
            return True
        return False

    def _want(self, text: str) -> Token:
        if not self._is(text):
            self._stray(f"{text!r} is missing before")
        return self._take()

    def _stray(self, says: str = "this is not understood:") -> NoReturn:
        token = self._next
        if token.kind == "end":
            last = self._tokens[max(0, self._at - 1)].line
            raise Wrong(last, "the test ends too early")
        raise Wrong(token.line, f"{says} {_shown(self._text[token.at :])}")

    def _name(self) -> Token:
        if self._next.kind != "name":
            self._stray()
        return self._take()

    def _number(self) -> int:
        if self._next.kind != "number":
            self._stray()
        token = self._take()
        text = token.text
        if len(text) > _WIDEST:
            raise Wrong(token.line, f"the number {text[:12]}... is too large: {_WIDEST} bits hold a number")
        try:
            # C's octal, which herd7 takes for decimal: the kernel compiles these tests, too (klitmus7).
            value = int(text, 8) if text[0] == "0" and text.isdigit() else int(text, 0)
        except ValueError:
            raise Wrong(token.line, f"{text} is no number: one that begins with 0 is octal") from None
        if value >> _WIDEST:
            raise Wrong(token.line, f"the number {text[:12]}... is too large: {_WIDEST} bits hold a number")
        return value

    def _signed(self) -> int:
        negative = self._took("-")
        value = self._number()
        return -value if negative else value

    def _spelt(self, start: Token) -> str:
        """The source from a token up to here, on one line."""
        end = self._tokens[self._at - 1]
        return " ".join(self._text[start.at : end.at + len(end.text)].split()).rstrip(";").rstrip()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Wrong(self._next.line, f"this is nested too deep: more than {_DEEPEST} levels")

    # -- the whole ----------------------------------------------------------------------------------------------

    def test(self) -> Parsed:
        self._want("{")
        init = self._init()
        processes = []
        while self._next.kind == "name" and (
            re.fullmatch(r"P[0-9]{1,4}", self._next.text) or self._next.text in ("void", "static")
        ):
            processes.append(self._process())
        if not processes:
            self._stray("a process, as P0(...) { ... }, is missing before")
        clauses = []
        while self._next.kind != "end":
            clauses.append(self._clause())
        return Parsed(init, processes, clauses)

    def _init(self) -> list[Init]:
        found = []
        while not self._took("}"):
            if not self._took(";"):
                found.append(self._init_item())
                if not self._is("}") and not self._is(";"):
                    self._stray("';' is missing before")
        return found

    def _init_item(self) -> Init:
        line = self._next.line
        kind: str | None = None
        if self._is_type():
            kind = self._type()
        self._stars()
        process: int | None = None
        # "0:r1" or "P0:r1".
        if self._ahead(1).text == ":":
            process = self._process_number()
            self._take()
        name = self._name().text if not self._took("[") else self._bracketed()
        if self._is("["):
            raise Wrong(line, "arrays are not supported here: use one location for each element")
        value: int | str | None = None
        if self._took("="):
            value = self._init_value()
        return Init(kind, process, name, value, line)

    def _bracketed(self) -> str:
        name = self._name().text
        self._want("]")
        return name

    def _process_number(self) -> int:
        token = self._next
        if token.kind == "number":
            return self._number()
        if not re.fullmatch(r"P[0-9]{1,4}", token.text):
            self._stray()
        self._take()
        return int(token.text[1:])

    def _init_value(self) -> int | str:
        cast = self._is("(")
        while cast and self._is("(") and self._is_type(1):
            self._take()
            self._type()
            self._want(")")
        if self._took("&"):
            return self._name().text
        if self._next.kind == "name":
            name = self._take()
            if self._took("("):
                # ATOMIC_INIT(1), and whatever else makes a value of one.
                value = self._signed()
                self._want(")")
                return value
            return name.text
        return self._signed()

    def _process(self) -> Process:
        while self._next.text in ("void", "static"):
            self._take()
        self._stars()
        token = self._name()
        if not re.fullmatch(r"P[0-9]{1,4}", token.text):
            raise Wrong(token.line, f"a process is called P0, P1 and so on, not {token.text[:40]}")
        made = Process(int(token.text[1:]), token.line)
        self._want("(")
        if self._is("void") and self._ahead(1).text == ")":
            self._take()
        while not self._took(")"):
            if not self._is_type():
                self._stray("a parameter, as int *x, is missing before")
            kind = self._type()
            name = self._name()
            made.parameters.append((kind, name.text, name.line))
            if not self._took(",") and not self._is(")"):
                self._stray("',' is missing before")
        made.body = self._block()
        return made

    # -- types --------------------------------------------------------------------------------------------------

    def _is_type(self, ahead: int = 0) -> bool:
        token = self._ahead(ahead)
        if token.kind != "name":
            return False
        if token.text in TYPES or token.text in _QUALIFIERS:
            return True
        # Any other name is a type where a name or stars and a name follow: "struct" may be missing, types be unknown.
        after = self._ahead(ahead + 1)
        if after.kind == "name" and after.text not in ("and",):
            return True
        return token.text.endswith("_t") and after.text == "*"

    def _type(self) -> str:
        """Pass a type; gives the kind of what has it."""
        kind = "p"
        named = False
        while self._next.kind == "name":
            text = self._next.text
            if text in _QUALIFIERS:
                self._take()
                if text == "struct":
                    kind = _LOCKS.get(self._name().text, "p")
                    named = True
            elif text in TYPES:
                self._take()
                kind = _LOCKS.get(text, kind)
                named = True
            elif not named:
                self._take()
                named = True
            else:
                break
        if not named:
            self._stray()
        self._stars()
        return kind

    def _stars(self) -> None:
        while self._is("*") or self._is("volatile") or self._is("const"):
            self._take()

    # -- statements ---------------------------------------------------------------------------------------------

    def _block(self) -> Node:
        self._want("{")
        self._deeper()
        inside: list[Node] = []
        while not self._took("}"):
            if self._next.kind == "end":
                self._stray()
            made = self._statement()
            if made is not None:
                inside.append(made)
        self._depth -= 1
        return ("block", inside)

    def _statement(self) -> Node | None:
        token = self._next
        if self._is("{"):
            return self._block()
        if self._took(";"):
            return None
        if token.kind == "name" and token.text == "if":
            return self._if()
        if token.kind == "name" and token.text in _LOOPS:
            raise Wrong(token.line, f"{token.text} is not supported here: a test has no loops and no jumps")
        if token.kind == "name" and self._ahead(1).text == ":":
            raise Wrong(token.line, "labels are not supported here: a test has no loops and no jumps")
        if self._is_declaration():
            return self._declaration()
        start = self._next
        one = self._expression()
        if self._took("="):
            if one[0] not in ("name", "load"):
                raise Wrong(start.line, "only a register, or *x for a location x, can be assigned to")
            value = self._expression()
            self._want(";")
            return ("assign", one, value, start.line, self._spelt(start))
        self._want(";")
        return ("do", one, start.line, self._spelt(start))

    def _is_declaration(self) -> bool:
        token = self._next
        if token.kind != "name":
            return False
        if token.text in TYPES or token.text in _QUALIFIERS:
            return True
        return self._ahead(1).kind == "name"

    def _declaration(self) -> Node:
        self._type()
        made = []
        while True:
            self._stars()
            start = self._name()
            if self._is("["):
                raise Wrong(start.line, "arrays are not supported here: use one register for each element")
            value = self._expression() if self._took("=") else None
            made.append((start.text, value, start.line, self._spelt(start)))
            if self._took(";"):
                return ("declare", made)
            self._want(",")

    def _if(self) -> Node:
        line = self._take().line
        self._deeper()
        self._want("(")
        condition = self._expression()
        self._want(")")
        then = self._statement() or ("block", [])
        otherwise = None
        if self._is("else"):
            self._take()
            otherwise = self._statement() or ("block", [])
        self._depth -= 1
        return ("if", condition, then, otherwise, line)

    # -- expressions --------------------------------------------------------------------------------------------

    def _expression(self, least: int = 1) -> Node:
        self._deeper()
        one = self._unary()
        length = 0
        while True:
            operator = self._next
            binds = _BINARY.get(operator.text, 0) if operator.kind == "symbol" else 0
            if binds < least or not binds:
                break
            length += 1
            if length > _LONGEST:
                raise Wrong(operator.line, f"more than {_LONGEST} operators in a row")
            self._take()
            one = ("binary", operator.text, one, self._expression(binds + 1), operator.line)
        self._depth -= 1
        return one

    def _unary(self) -> Node:
        token = self._next
        if token.kind == "symbol" and token.text in "!-~+*&" and token.text:
            self._deeper()
            self._take()
            one = self._unary()
            self._depth -= 1
            if token.text == "+":
                return one
            if token.text == "*":
                return ("load", one, token.line)
            if token.text == "&":
                return one[1] if one[0] == "load" else ("address", one, token.line)
            return ("unary", token.text, one, token.line)
        if self._is("(") and self._is_type(1) and self._cast_ends():
            self._deeper()
            self._take()
            self._type()
            self._want(")")
            one = self._unary()
            self._depth -= 1
            return one
        return self._postfix()

    def _cast_ends(self) -> bool:
        """What stands in these parentheses is a type: names and stars only, and an operand follows."""
        at = self._at + 1
        tokens = self._tokens
        while tokens[at].kind == "name" or tokens[at].text == "*":
            at += 1
        after = tokens[min(at + 1, len(tokens) - 1)]
        operand = after.kind in ("number", "name") or after.text in ("(", "*", "&", "-", "~", "!")
        return tokens[at].text == ")" and operand

    def _postfix(self) -> Node:
        token = self._next
        if self._took("("):
            one = self._expression()
            self._want(")")
        elif token.kind == "number":
            one = ("number", self._number())
        elif token.kind == "name":
            self._take()
            one = ("name", token.text, token.line)
            if self._took("("):
                arguments = []
                while not self._took(")"):
                    arguments.append(self._expression())
                    if not self._took(",") and not self._is(")"):
                        self._stray("',' is missing before")
                one = ("call", token.text, tuple(arguments), token.line)
        else:
            self._stray()
        if self._is("->") or self._is("."):
            raise Wrong(
                self._next.line, "fields of structures are not supported here: use one location for each"
            )
        if self._is("["):
            raise Wrong(self._next.line, "arrays are not supported here: use one location for each element")
        return one

    # -- clauses ------------------------------------------------------------------------------------------------

    def _clause(self) -> Clause:
        token = self._next
        word = token.text
        if word == "locations":
            self._take()
            places = self._places()
            return Clause("locations", places, token.line, self._spelt(token))
        kind = ""
        if word in ("~", "not") and self._ahead(1).text == "exists":
            self._take()
            self._take()
            kind = "~exists"
        elif word in ("exists", "forall", "filter"):
            self._take()
            kind = word
        elif word == "final":
            self._take()
            kind = "exists"
        elif word == "(":
            # A proposition alone is an exists (lib/stateParser.mly, constr).
            kind = "exists"
        else:
            self._stray()
        says = self._proposition()
        text = self._spelt(token)
        self._took(";")
        return Clause(kind, says, token.line, text)

    def _places(self) -> list[tuple[Node, int]]:
        self._want("[")
        found: list[tuple[Node, int]] = []
        while not self._took("]"):
            if self._took(";"):
                continue
            line = self._next.line
            found.append((self._place(), line))
            if self._next.kind == "name" and not self._is(";"):
                self._type()
            self._stars()
            if not self._is(";") and not self._is("]"):
                self._stray("';' is missing before")
        return found

    def _place(self) -> Node:
        self._stars()
        if self._took("["):
            return (None, self._bracketed())
        if self._next.kind == "number" or self._ahead(1).text == ":":
            process = self._process_number()
            self._want(":")
            return (process, self._name().text)
        return (None, self._name().text)

    def _proposition(self) -> Node:
        """An implication is a disjunction, and binds least."""
        self._deeper()
        one = self._row("\\/", "or", lambda: self._row("/\\", "and", self._not))
        if self._took("=>"):
            one = ("or", [("not", one), self._proposition()])
        self._depth -= 1
        return one

    def _row(self, symbol: str, kind: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self._took(symbol):
            parts.append(part())
        return parts[0] if len(parts) == 1 else (kind, parts)

    def _not(self) -> Node:
        if self._is("~") or self._is("not"):
            self._deeper()
            self._take()
            one = self._not()
            self._depth -= 1
            return ("not", one)
        if self._took("("):
            one = self._proposition()
            self._want(")")
            return one
        if self._next.text in ("true", "false"):
            return (self._take().text,)
        line = self._next.line
        place = self._place()
        differs = self._is("!=") or self._is("<>")
        if not differs and not self._is("=") and not self._is("=="):
            self._stray("'=' is missing before")
        self._take()
        equal = ("equal", place, self._wanted(), line)
        return ("not", equal) if differs else equal

    def _wanted(self) -> Any:
        """A number, the address of a location (its name), or the final value of a register (its place)."""
        if self._is("-") or (self._next.kind == "number" and self._ahead(1).text != ":"):
            return self._signed()
        if self._ahead(1).text == ":":
            return self._place()
        self._took("&")
        return self._name().text
