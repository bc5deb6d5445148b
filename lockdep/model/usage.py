"""Irq usage of a class: in which context it was taken, and what was enabled while it was held.

A usage is one bit: state (HARDIRQ, SOFTIRQ), direction (used in that context, or held with it enabled) and
whether for read. Bit number = 4 * state + 2 * direction + read, as in the kernel's `enum lock_usage_bit`;
then two bits that say that the class was used at all.
"""

from __future__ import annotations

from typing import Final

HARDIRQ: Final = 0
SOFTIRQ: Final = 1
STATES: Final = (HARDIRQ, SOFTIRQ)
STATE_NAMES: Final = ("HARDIRQ", "SOFTIRQ")

USED: Final = 8
USED_READ: Final = 9

READ_BIT: Final = 1
ENABLED_BIT: Final = 2

USED_IN_MASK: Final = 0x33
ENABLED_MASK: Final = 0xCC
EXCLUSIVE_MASK: Final = 0x55

NAMES: Final = (
    "IN-HARDIRQ-W",
    "IN-HARDIRQ-R",
    "HARDIRQ-ON-W",
    "HARDIRQ-ON-R",
    "IN-SOFTIRQ-W",
    "IN-SOFTIRQ-R",
    "SOFTIRQ-ON-W",
    "SOFTIRQ-ON-R",
    "INITIAL USE",
    "INITIAL READ USE",
)


def used_in(state: int, read: bool) -> int:
    """Bit number of 'was taken in this context'."""
    return 4 * state + (READ_BIT if read else 0)


def enabled(state: int, read: bool) -> int:
    """Bit number of 'was held while this context was enabled'."""
    return 4 * state + ENABLED_BIT + (READ_BIT if read else 0)


def opposite(mask: int) -> int:
    """For each bit, the exclusive and the read bit of the same state in the other direction.

    What conflicts with a lock taken in a hardirq is one held with hardirqs on, in either mode:

    >>> [NAMES[bit] for bit in range(USED) if opposite(1 << used_in(HARDIRQ, False)) >> bit & 1]
    ['HARDIRQ-ON-W', 'HARDIRQ-ON-R']
    """
    exclusive = (mask | mask >> 1) & EXCLUSIVE_MASK
    flipped = (exclusive & USED_IN_MASK) << 2 | (exclusive & ENABLED_MASK) >> 2
    return flipped | flipped << 1


def usage_chars(mask: int) -> str:
    """The four characters that reports print: hardirq write, hardirq read, softirq write, softirq read.

    ``-`` taken in the context, ``+`` held with it enabled, ``?`` both, ``.`` neither.

    >>> usage_chars(1 << used_in(HARDIRQ, False) | 1 << enabled(SOFTIRQ, True))
    '-..+'
    """
    chars = []
    for state in STATES:
        for read in (False, True):
            inside = mask >> used_in(state, read) & 1
            outside = mask >> enabled(state, read) & 1
            chars.append(".-+?"[inside + 2 * outside])
    return "".join(chars)
