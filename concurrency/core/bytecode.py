"""What lies on the value stack of a frame, followed through the bytecode, since it cannot be read.

So it is known at least what kind of things lie there: the exit of a `with` statement stays what it is; an iterator is
accepted if the variable of its loop says how far it is (``for n in range(3)``); anything else is hidden.
"""

from __future__ import annotations

import dis
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple


class Hidden(Exception):
    """Something that may differ next time cannot be seen."""


Tag = tuple[Any, ...]
"""What is known of a value on the stack: how it came there."""

_OTHER: Tag = ("other",)
WITH: Tag = ("with",)
_ONLY_POPS = frozenset(
    [
        "POP_TOP",
        "POP_EXCEPT",
        "STORE_FAST",
        "STORE_NAME",
        "STORE_GLOBAL",
        "STORE_DEREF",
        "STORE_ATTR",
        "STORE_SUBSCR",
        "STORE_SLICE",
        "NOP",
        "RESUME",
        "CACHE",
        "EXTENDED_ARG",
        "KW_NAMES",
        "PRECALL",
        "COPY_FREE_VARS",
        "MAKE_CELL",
        "RETURN_CONST",
        "RETURN_VALUE",
        "END_FOR",
        "DELETE_FAST",
        "DELETE_NAME",
        "DELETE_GLOBAL",
        "DELETE_DEREF",
        "DELETE_ATTR",
        "DELETE_SUBSCR",
        "LIST_APPEND",
        "SET_ADD",
        "MAP_ADD",
        "LIST_EXTEND",
        "SET_UPDATE",
        "DICT_UPDATE",
        "DICT_MERGE",
        "PUSH_NULL",
        "STORE_FAST_STORE_FAST",
        "RERAISE",
        "RAISE_VARARGS",
    ]
)
"""What takes values from the stack, or adds some, but leaves those below as they are."""
_ENDS = frozenset(
    [
        "RETURN_VALUE",
        "RETURN_CONST",
        "RAISE_VARARGS",
        "RERAISE",
        "JUMP_FORWARD",
        "JUMP_BACKWARD",
        "JUMP_BACKWARD_NO_INTERRUPT",
    ]
)
CALLS = frozenset(("CALL", "CALL_KW", "CALL_FUNCTION_EX"))
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))


class Loop(NamedTuple):
    """A `for` loop: the variable that takes what comes next, and from where to where it goes round."""

    variable: str | None
    """None if it is no variable of the frame, or if something else changes it."""
    again: bool
    """The loop may be begun more than once, with another iterator."""
    source_stays: bool
    """What it goes through, if that is a variable of the frame, is set once at most."""


class Stacks(NamedTuple):
    """Of a code object: for each instruction what lies on the stack before it, and its loops by where they begin."""

    offsets: list[int]
    instructions: list[dis.Instruction]
    before: list[tuple[Tag, ...] | None]
    loops: dict[int, Loop]

    def at(self, lasti: int) -> tuple[dis.Instruction, tuple[Tag, ...]]:
        """The instruction that a frame is in, and the stack before it; `lasti` may be that of its cache."""
        number = bisect_right(self.offsets, lasti) - 1
        if number >= 0 and self.instructions[number].opname == "PRECALL":
            # Python 3.11 calls what is not Python here once it has got to know the place, and at the CALL before that.
            number += 1
        before = self.before[number] if number >= 0 else None
        if before is None:
            raise Hidden("the instruction is not known")
        return self.instructions[number], before


@lru_cache(maxsize=1024)
def stacks(code: CodeType) -> Stacks | None:
    """Follow the stack through `code`; None where that does not come out even."""
    instructions = list(dis.get_instructions(code))
    offsets = [one.offset for one in instructions]
    place = {offset: number for number, offset in enumerate(offsets)}
    handlers = _handlers(code)
    before: list[tuple[Tag, ...] | None] = [None] * len(instructions)
    before[0] = ()
    left = [0]
    following: dict[int, set[int]] = {}
    try:
        while left:
            number = left.pop()
            one = instructions[number]
            now = before[number]
            assert now is not None
            ways = [] if one.opname in _ENDS else [(number + 1, _after(one, now, jump=False))]
            if one.opcode in _JUMPS:
                ways.append((place[one.argval], _after(one, now, jump=True)))
            for start, stop, target, depth, lasti in handlers:
                if start <= one.offset < stop:
                    # What an exception leaves: the values below, perhaps where it was raised, and the exception.
                    ways.append((place[target], (*now[:depth], *(_OTHER,) * (1 + lasti))))
            following[number] = {to for to, _ in ways}
            for to, stack in ways:
                known = before[to]
                merged = stack if known is None else _merged(known, stack)
                if merged != known:
                    before[to] = merged
                    left.append(to)
    except (Hidden, KeyError, IndexError, ValueError):
        return None
    loops = {
        one.offset: Loop(
            _variable(instructions, number),
            _reaches(following, number),
            _is_fixed(instructions, before[number]),
        )
        for number, one in enumerate(instructions)
        if one.opname == "GET_ITER" and before[number] is not None
    }
    return Stacks(offsets, instructions, before, loops)


def _handlers(code: CodeType) -> list[tuple[int, int, int, int, bool]]:
    entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]
    return [(one.start, one.end, one.target, one.depth, bool(one.lasti)) for one in entries]


def _merged(one: tuple[Tag, ...], other: tuple[Tag, ...]) -> tuple[Tag, ...]:
    if len(one) != len(other):
        raise Hidden("two ways lead here with stacks of different depths")
    return tuple(a if a == b else _OTHER for a, b in zip(one, other, strict=True))


def _after(one: dis.Instruction, before: tuple[Tag, ...], *, jump: bool) -> tuple[Tag, ...]:
    """The stack behind an instruction."""
    name, argument = one.opname, one.arg
    stack = list(before)
    change = pushes(one, jump=jump)
    if name == "RETURN_GENERATOR":
        # Where a generator goes on, what was sent lies on the stack; Python 3.11 does not count it.
        change = 1
    if -change > len(stack):
        raise Hidden("more is taken from the stack than was there")
    if name in CALLS:
        popped = stack[change - 1 :]
        del stack[change - 1 :]
        ranges = name == "CALL" and ("global", "range") in popped[:2]
        stack.append(("range", *popped[2:]) if ranges else _OTHER)
    elif name.startswith("LOAD_FAST"):
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        stack += [("fast", own) for own in names]
    elif name == "STORE_FAST_LOAD_FAST":
        stack[-1] = ("fast", one.argval[1])
    elif name in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
        stack.append(("deref", one.argval))
    elif name == "LOAD_CONST":
        stack.append(("const", type(one.argval).__name__, repr(one.argval)))
    elif name == "LOAD_GLOBAL":
        # With its second bit it pushes a NULL as well, before or behind, as the version has it.
        stack += [("global", one.argval)] * change
    elif name in ("LOAD_ATTR", "LOAD_METHOD"):
        stack[-1:] = [("attr", one.argval)] * (1 + change)
    elif name == "COPY":
        stack.append(stack[-(argument or 0)])
    elif name == "SWAP":
        at = -(argument or 0)
        stack[at], stack[-1] = stack[-1], stack[at]
    elif name == "GET_ITER":
        stack[-1] = ("iter", one.offset, stack[-1])
    elif name == "FOR_ITER":
        stack = [*stack, _OTHER] if change > 0 else stack[: len(stack) + change]
    elif name == "BEFORE_WITH":
        stack[-1:] = [WITH, _OTHER]
    elif name in _ONLY_POPS or name.startswith(("POP_JUMP", "JUMP")):
        stack = [*stack, *[_OTHER] * change] if change > 0 else stack[: len(stack) + change]
    else:
        if change < 0:
            del stack[change:]
        if stack and not name.startswith("LOAD_"):
            stack[-1] = _OTHER
        stack += [_OTHER] * max(0, change)
    if len(stack) != len(before) + change:
        raise Hidden("the stack is not understood")
    return tuple(stack)


def pushes(one: dis.Instruction, *, jump: bool = False) -> int:
    """By how much an instruction makes the stack deeper."""
    # Python 3.11 books the arguments of a call with the instruction before it, though they are there until the call.
    if one.opname == "PRECALL":
        return 0
    if one.opname == "CALL":
        return -1 - (one.arg or 0)
    return dis.stack_effect(one.opcode, one.arg, jump=jump)


def _variable(instructions: list[dis.Instruction], number: int) -> str | None:
    """The variable of the loop whose iterator is made at `number`, if only the loop sets it."""
    if number + 2 >= len(instructions) or instructions[number + 1].opname != "FOR_ITER":
        return None
    taker = instructions[number + 2]
    if taker.opname not in ("STORE_FAST", "STORE_FAST_LOAD_FAST"):
        return None
    name = taker.argval[0] if isinstance(taker.argval, tuple) else taker.argval
    return name if _stores(instructions, name) == 1 else None


def _stores(instructions: Iterable[dis.Instruction], name: str) -> int:
    """At how many places a variable of the frame is set."""
    count = 0
    for one in instructions:
        if one.opname == "STORE_FAST_STORE_FAST":
            count += list(one.argval).count(name)
        elif one.opname in ("STORE_FAST", "DELETE_FAST", "STORE_FAST_LOAD_FAST", "LOAD_FAST_AND_CLEAR"):
            count += (one.argval[0] if isinstance(one.argval, tuple) else one.argval) == name
    return count


def _is_fixed(instructions: list[dis.Instruction], stack: tuple[Tag, ...] | None) -> bool:
    """What lies on top is a variable of the frame that is set once at most."""
    return bool(stack) and stack[-1][0] == "fast" and _stores(instructions, stack[-1][1]) <= 1  # type: ignore[index]


def _reaches(following: Mapping[int, set[int]], number: int) -> bool:
    """Whether one can come back to instruction `number`."""
    seen: set[int] = set()
    left = list(following.get(number, ()))
    while left:
        one = left.pop()
        if one == number:
            return True
        if one not in seen:
            seen.add(one)
            left += following.get(one, ())
    return False
