"""What lies on the value stack of a frame, followed through its bytecode, since Python offers no way to read it.

`frames` compares what a task holds at two moments. A value on the stack, an iterator above all, could differ without
any variable being different. Following the bytecode from the beginning of the function tells at least what *kind* of
value lies where (a `Tag`), which is enough for the two that matter: the exit function of a `with` statement never
changes, and the iterator of a loop is as far as the variable of the loop says. With any other value `frames` gives up
(`Hidden`), and the task is taken for one that may have changed: that costs executions, never a wrong verdict.

>>> def wait(relax):
...     for n in range(3):
...         relax()
>>> known = stacks(wait.__code__)
>>> next(iter(known.loops.values()))
Loop(variable='n', again=False, source_stays=False)

During the call in the loop the bottom of the stack is the iterator of that loop, over a range with a constant bound:

>>> call = [one.opname for one in known.instructions].index("CALL", 8)
>>> kind, _, source = known.before[call][0]
>>> kind, source
('iter', ('range', ('const', 'int', '3')))

All of it holds for CPython 3.11 to 3.13; what an instruction is called and does differs between them, and where it is
not known here, the function is not understood (`stacks` gives None).
"""

from __future__ import annotations

import dis
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple


class Hidden(Exception):
    """Raised where a value cannot be seen that may be another one next time; the text says which."""


Tag = tuple[Any, ...]
"""What is known of a value on the stack: how it came there. The first entry is the kind:

- ("fast", name), ("deref", name), ("global", name), ("attr", name): read from a variable, or an attribute of
  something;
- ("const", type, repr): a constant; ("range", *bounds): a call of `range` with these tags as arguments;
- ("iter", offset, source): an iterator, made by the GET_ITER at this offset of what `source` tags;
- ("with",): the exit function of a `with` statement; ("other",): anything else.
"""

_OTHER: Tag = ("other",)
WITH: Tag = ("with",)
# An instruction that is neither named here nor treated by itself in `_after` is taken to replace what lies on top
# of the stack by something unknown: that covers all that build, compare and compute.
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
"""Instructions that take values from the stack, or add unknown ones, but leave those below as they are."""
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
"""Instructions after which the next one is not reached."""
CALLS = frozenset(("CALL", "CALL_KW", "CALL_FUNCTION_EX"))
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))


class Loop(NamedTuple):
    """A `for` loop, as far as it matters whether its variable tells how far its iterator has come."""

    variable: str | None
    """The local variable that takes each value; None if it is none, or if the loop is not the only one to set it."""
    again: bool
    """The loop may be begun more than once in one call of the function, each time with another iterator."""
    source_stays: bool
    """What it goes through is a local variable that is set at one place at most (an argument is set nowhere)."""


class Stacks(NamedTuple):
    """What is known of the stack in one code object."""

    offsets: list[int]
    """The offset of each instruction, ascending."""
    instructions: list[dis.Instruction]
    before: list[tuple[Tag, ...] | None]
    """For each instruction the stack before it, the bottom first; None for one that cannot be reached."""
    loops: dict[int, Loop]
    """The loops, by the offset of their GET_ITER."""

    def at(self, lasti: int) -> tuple[dis.Instruction, tuple[Tag, ...]]:
        """The instruction that a frame is in, and the stack before it; raises `Hidden` if that is not known.

        `lasti` may point into the inline cache behind the instruction: so the last one that begins no later is meant.
        """
        number = bisect_right(self.offsets, lasti) - 1
        if number >= 0 and self.instructions[number].opname == "PRECALL":
            # Python 3.11 calls what is not Python here once it has got to know the place, and at the CALL before that.
            number += 1
        before = self.before[number] if number >= 0 else None
        if before is None:
            raise Hidden("the instruction is not known")
        return self.instructions[number], before


# An abstract interpretation: each instruction is gone through with the tags that may lie before it, until nothing new
# is found. Where two ways meet with different tags the place is "other", so a tag only ever gets less precise, and the
# loop ends. Cached, since a task that spins is looked at at each `cpu_relax`, always in the same few functions.
@lru_cache(maxsize=1024)
def stacks(code: CodeType) -> Stacks | None:
    """Follow the stack through `code`; None if some instruction, or two ways that meet, are not understood."""
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
                    # The handler finds the values below its depth, perhaps the offset of the raise (`lasti`), and the
                    # exception: Objects/exception_handling_notes.txt of CPython 3.11.
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
    """What is known of the stack at an instruction that is reached with `one` and with `other`."""
    if len(one) != len(other):
        raise Hidden("two ways lead here with stacks of different depths")
    return tuple(a if a == b else _OTHER for a, b in zip(one, other, strict=True))


def _after(one: dis.Instruction, before: tuple[Tag, ...], *, jump: bool) -> tuple[Tag, ...]:
    """The stack after an instruction that found `before`; `jump` if it is left by its jump."""
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
        # The callable is one of the two lowest: a NULL or `self` stands beside it, in an order that versions change.
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
        # Its text, not the value: 1 and True are equal, and NaN is not equal to itself.
        stack.append(("const", type(one.argval).__name__, repr(one.argval)))
    elif name == "LOAD_GLOBAL":
        # It may push a NULL as well (the low bit of its argument), below or above, depending on the version.
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
    # Whatever was done above, Python's own account of the depth is the judge.
    if len(stack) != len(before) + change:
        raise Hidden("the stack is not understood")
    return tuple(stack)


def pushes(one: dis.Instruction, *, jump: bool = False) -> int:
    """By how much an instruction makes the stack deeper."""
    # Python 3.11 counts the arguments of a call with the PRECALL before it, though they lie there until the CALL.
    if one.opname == "PRECALL":
        return 0
    if one.opname == "CALL":
        return -1 - (one.arg or 0)
    return dis.stack_effect(one.opcode, one.arg, jump=jump)


def _variable(instructions: list[dis.Instruction], number: int) -> str | None:
    """The variable of the loop whose iterator is made at `number`, if nothing else sets it; else None."""
    # If something else set it too, its value would not tell how far the iterator is.
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
    """Whether the top of the stack was read from a local variable that is set at one place at most."""
    return bool(stack) and stack[-1][0] == "fast" and _stores(instructions, stack[-1][1]) <= 1  # type: ignore[index]


def _reaches(following: Mapping[int, set[int]], number: int) -> bool:
    """Whether instruction `number` can be reached again after it."""
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
