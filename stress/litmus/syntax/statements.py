"""Statements of C: blocks, declarations, assignments and ``if``; a test has no loops and no jumps."""

from __future__ import annotations

from sugarbush.stress.litmus.syntax.expressions import Expressions
from sugarbush.stress.litmus.syntax.tokens import Wrong
from sugarbush.stress.litmus.syntax.tree import Node
from sugarbush.stress.litmus.syntax.type_names import QUALIFIERS, TYPES

_LOOPS = frozenset(("while", "for", "do", "goto", "switch", "return", "break", "continue"))


class Statements(Expressions):
    """The part of the parser that reads the bodies of processes."""

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
        if token.text in TYPES or token.text in QUALIFIERS:
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
