"""What C makes of two values, in 64 bits, and of the addresses of locations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.stress.litmus.calls import Location, NotANumber

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


def binary(operator: str, one: Any, two: Any) -> Any:
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


def truth_of(value: Any) -> bool:
    """An address is never NULL."""
    return isinstance(value, Location) or bool(value)
