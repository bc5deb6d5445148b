"""How nodes are laid out: kinds, numbers of slots, the largest key, and the bits of the flags word.

The numbers are those of the 64-bit kernel (include/linux/maple_tree.h, v6.6).
"""

from __future__ import annotations

from typing import Final

MAX: Final = 2**64 - 1
"""The largest key; ranges are inclusive at both ends."""

ADDRESS: Final = 0xFFFF_8880_0000_0000
"""What an address looks like where a key is expected: x86's direct map, so above all that a program maps."""

LEAF_64: Final = 1
RANGE_64: Final = 2
ARANGE_64: Final = 3

KIND_NAMES: Final = {LEAF_64: "leaf64", RANGE_64: "range64", ARANGE_64: "arange64"}

SLOTS: Final = (31, 16, 16, 10)
"""How many slots a node has, by kind (kind 0, dense, is defined by the kernel but never built)."""

MIN_SLOTS: Final = (15, 6, 6, 4)
"""A node that is not the right-most of its level holds more slots than this, by kind (`mt_min_slots`).

Less than half of `SLOTS`, so that a node that was split, or joined and divided, is not at once too small again.
"""

NODE_SIZE: Final = 256
"""Bytes of one node in the kernel; its slab puts 16 in a page."""

FLAG_GAPS: Final = 0x01
FLAG_RCU: Final = 0x02
FLAG_HEIGHT_SHIFT: Final = 2
FLAG_LOCK_IRQ: Final = 0x100
FLAG_LOCK_BH: Final = 0x200
FLAG_LOCK_EXTERN: Final = 0x300
