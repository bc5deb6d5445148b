"""GFP flags: what an allocation may do to get its memory.

The names and bit values are the kernel's (include/linux/gfp_types.h, v6.6). Plain integers, because they are
tested on hot paths. A modifier that the kernel spells with two leading underscores stands here without them
(``__GFP_DIRECT_RECLAIM`` is `GFP_DIRECT_RECLAIM`): Python would mangle such a name inside a class body.
"""

from __future__ import annotations

from typing import Final

GFP_DMA: Final = 0x01
GFP_HIGHMEM: Final = 0x02
GFP_DMA32: Final = 0x04
GFP_MOVABLE: Final = 0x08
GFP_RECLAIMABLE: Final = 0x10
GFP_HIGH: Final = 0x20
GFP_IO: Final = 0x40
GFP_FS: Final = 0x80
GFP_ZERO: Final = 0x100
GFP_DIRECT_RECLAIM: Final = 0x400
GFP_KSWAPD_RECLAIM: Final = 0x800
GFP_WRITE: Final = 0x1000
GFP_NOWARN: Final = 0x2000
GFP_RETRY_MAYFAIL: Final = 0x4000
GFP_NOFAIL: Final = 0x8000
GFP_NORETRY: Final = 0x10000
GFP_MEMALLOC: Final = 0x20000
GFP_COMP: Final = 0x40000
GFP_NOMEMALLOC: Final = 0x80000
GFP_HARDWALL: Final = 0x100000
GFP_THISNODE: Final = 0x200000
GFP_ACCOUNT: Final = 0x400000
GFP_NOLOCKDEP: Final = 0x8000000

GFP_RECLAIM: Final = GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM

GFP_ATOMIC: Final = GFP_HIGH | GFP_KSWAPD_RECLAIM
GFP_KERNEL: Final = GFP_RECLAIM | GFP_IO | GFP_FS
GFP_KERNEL_ACCOUNT: Final = GFP_KERNEL | GFP_ACCOUNT
GFP_NOWAIT: Final = GFP_KSWAPD_RECLAIM
GFP_NOIO: Final = GFP_RECLAIM
GFP_NOFS: Final = GFP_RECLAIM | GFP_IO
GFP_USER: Final = GFP_RECLAIM | GFP_IO | GFP_FS | GFP_HARDWALL
GFP_HIGHUSER: Final = GFP_USER | GFP_HIGHMEM
GFP_HIGHUSER_MOVABLE: Final = GFP_HIGHUSER | GFP_MOVABLE

_COMPOUND: Final = (
    ("GFP_HIGHUSER_MOVABLE", GFP_HIGHUSER_MOVABLE),
    ("GFP_HIGHUSER", GFP_HIGHUSER),
    ("GFP_USER", GFP_USER),
    ("GFP_KERNEL_ACCOUNT", GFP_KERNEL_ACCOUNT),
    ("GFP_KERNEL", GFP_KERNEL),
    ("GFP_NOFS", GFP_NOFS),
    ("GFP_ATOMIC", GFP_ATOMIC),
    ("GFP_NOIO", GFP_NOIO),
    ("GFP_NOWAIT", GFP_NOWAIT),
)

_SINGLE: Final = (
    ("GFP_DMA", GFP_DMA),
    ("GFP_DMA32", GFP_DMA32),
    ("__GFP_HIGHMEM", GFP_HIGHMEM),
    ("__GFP_MOVABLE", GFP_MOVABLE),
    ("__GFP_RECLAIMABLE", GFP_RECLAIMABLE),
    ("__GFP_HIGH", GFP_HIGH),
    ("__GFP_IO", GFP_IO),
    ("__GFP_FS", GFP_FS),
    ("__GFP_ZERO", GFP_ZERO),
    ("__GFP_DIRECT_RECLAIM", GFP_DIRECT_RECLAIM),
    ("__GFP_KSWAPD_RECLAIM", GFP_KSWAPD_RECLAIM),
    ("__GFP_WRITE", GFP_WRITE),
    ("__GFP_NOWARN", GFP_NOWARN),
    ("__GFP_RETRY_MAYFAIL", GFP_RETRY_MAYFAIL),
    ("__GFP_NOFAIL", GFP_NOFAIL),
    ("__GFP_NORETRY", GFP_NORETRY),
    ("__GFP_MEMALLOC", GFP_MEMALLOC),
    ("__GFP_COMP", GFP_COMP),
    ("__GFP_NOMEMALLOC", GFP_NOMEMALLOC),
    ("__GFP_HARDWALL", GFP_HARDWALL),
    ("__GFP_THISNODE", GFP_THISNODE),
    ("__GFP_ACCOUNT", GFP_ACCOUNT),
    ("__GFP_NOLOCKDEP", GFP_NOLOCKDEP),
)


def gfp_name(flags: int) -> str:
    """The kernel's spelling of a mask (``%pGg``): the largest named mask, then the modifiers left over.

    Bits that have no name come last, in hexadecimal; an empty mask is ``none``.
    """
    # The table is sorted from the largest mask to the smallest, and the first that fits wholly is taken.
    parts = []
    rest = flags
    for name, mask in _COMPOUND:
        if rest & mask == mask:
            parts.append(name)
            rest &= ~mask
            break
    for name, bit in _SINGLE:
        if rest & bit:
            parts.append(name)
            rest &= ~bit
    if rest:
        parts.append(hex(rest))
    return "|".join(parts) or "none"


def gfpflags_allow_blocking(flags: int) -> bool:
    """True when the allocation may reclaim memory itself, and so sleep (kernel: same name)."""
    return bool(flags & GFP_DIRECT_RECLAIM)
