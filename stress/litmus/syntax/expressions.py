"""Expressions of C: operators by how tightly they bind, casts, calls, and what is refused of the rest."""

from __future__ import annotations

from sugarbush.stress.litmus.syntax.tokens import Wrong
from sugarbush.stress.litmus.syntax.tree import Node
from sugarbush.stress.litmus.syntax.type_names import Types

_LONGEST = 300
"""Operators in one row: what they make is as deep."""
_BINARY = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, "<=": 7, ">": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
"""How tightly the operators of C bind."""


class Expressions(Types):
    """The part of the parser that reads expressions.

    Operators are read by precedence climbing: each level of C's grammar as a function of its own would be ten calls for
    one operand. Both how deep and how long an expression is has a limit, since what is made of it recurses.
    """

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
