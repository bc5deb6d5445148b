"""What a test asks: the propositions of its clauses, and the places that they name.

The grammar is that of final states in herd7 (lib/stateParser.mly there), which is not C: ``=`` compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sugarbush.stress.litmus.syntax.tree import Clause, Node
from sugarbush.stress.litmus.syntax.type_names import Types


class Clauses(Types):
    """The part of the parser that reads clauses."""

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
