"""Prints circular reports of cycles that a test makes up, as kernels do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lock:
    """A class of a made-up cycle; `how` is the primitive that takes it."""

    name: str
    how: str = "mutex_lock_nested"


def circular(
    locks: Sequence[Lock],
    *,
    turn: int = 0,
    release: str = "6.1.20-orchard",
    seed: int = 1,
    task: str = "cook/4711",
) -> list[str]:
    """The bare lines of a report of the cycle in which each lock is wanted while the one before it is held.

    `turn` says which edge was new; `seed` changes addresses and offsets, which nobody may depend on.
    """
    ring = [*locks[turn:], *locks[:turn]]
    wanted, owned = ring[0], ring[-1]
    count = seed * 7919

    def number() -> int:
        nonlocal count
        count = (count * 1103515245 + 12345) & 0x7FFFFFFF
        return count

    def line(lock: Lock, at: str) -> str:
        return f"ffff8881{number():08x} ({lock.name}){{+.+.}}-{{3:3}}, at: {at}+0x{number() & 0xFFF:x}/0x1fff"

    def frames(lock: Lock, held: Lock) -> list[str]:
        names = ["lock_acquire", lock.how, f"take_{_word(lock)}_under_{_word(held)}", "bake_ioctl"]
        return [f"       {name}+0x{number() & 0xFFF:x}/0x1fff" for name in names]

    out = [
        "",
        "=" * 54,
        "WARNING: possible circular locking dependency detected",
        f"{release} #{seed} Not tainted",
        "-" * 54,
        f"{task} is trying to acquire lock:",
        line(wanted, f"take_{_word(wanted)}_under_{_word(owned)}"),
        "",
        "but task is already holding lock:",
        line(owned, f"hold_{_word(owned)}"),
        "",
        "which lock already depends on the new lock.",
        "",
        "",
        "the existing dependency chain (in reverse order) is:",
        "",
    ]
    for at in range(len(ring) - 1, -1, -1):
        out += [f"-> #{at} ({ring[at].name}){{+.+.}}-{{3:3}}:", *frames(ring[at], ring[at - 1]), ""]
    out += ["other info that might help us debug this:", ""]
    if len(ring) > 2:
        out += ["Chain exists of:", f"  {wanted.name} --> {ring[-2].name} --> {owned.name}", ""]
    out += [
        " Possible unsafe locking scenario:",
        "",
        "       CPU0                    CPU1",
        "       ----                    ----",
        f"  lock({owned.name});",
        f"                               lock({ring[-2].name});",
        f"                               lock({owned.name});",
        f"  {'rlock' if 'read' in wanted.how else 'lock'}({wanted.name});",
        "",
        " *** DEADLOCK ***",
        "",
        f"1 lock held by {task}:",
        f" #0: {line(owned, f'hold_{_word(owned)}')}",
        "",
        "stack backtrace:",
        f"CPU: 1 PID: {task.rpartition('/')[2]} Comm: {task.rpartition('/')[0]} Not tainted {release} #{seed}",
        "Call Trace:",
        " dump_stack_lvl+0x1/0x2",
        *(frame.strip().rjust(len(frame.strip()) + 1) for frame in frames(wanted, owned)),
    ]
    return out


def _word(lock: Lock) -> str:
    return "".join(char if char.isalnum() else "_" for char in lock.name).strip("_")
