"""What a process may still do from some step on."""

from __future__ import annotations

from dataclasses import dataclass

from sugarbush.stress.litmus.calls import Act
from sugarbush.stress.litmus.code import Code, Step


@dataclass(slots=True)
class Future:
    """What a process may do from some step on, as bits: the places that it `touches` and `writes`, the domains in
    which it begins `readers` and `graces` (bit 0: plain RCU); whether it passes full barriers, tells anybody anything,
    and reads; the registers that it looks at and those that it `sets`; whether it follows `pointers`, and
    whether it passes smp_mb__after_unlock_lock() (`unlock_locks`).
    """

    touches: int = 0
    writes: int = 0
    readers: int = 0
    graces: int = 0
    barriers: bool = False
    tells: bool = False
    reads: bool = False
    registers: frozenset[int] = frozenset()
    sets: frozenset[int] = frozenset()
    pointers: bool = False
    unlock_locks: bool = False

    def joined(self, other: Future) -> Future:
        """What either may do."""
        return Future(
            self.touches | other.touches,
            self.writes | other.writes,
            self.readers | other.readers,
            self.graces | other.graces,
            self.barriers or other.barriers,
            self.tells or other.tells,
            self.reads or other.reads,
            self.registers | other.registers,
            self.sets | other.sets,
            self.pointers or other.pointers,
            self.unlock_locks or other.unlock_locks,
        )


_WRITES = (Act.WRITE, Act.MODIFY, Act.LOOK, Act.LOCK, Act.TRYLOCK, Act.UNLOCK)
_READS = (Act.READ, Act.MODIFY, Act.LOOK, Act.LOCK, Act.TRYLOCK, Act.IS_LOCKED)
BARRIERS = (Act.MB, Act.UNLOCK_LOCK_MB)
# Not READER and GRACE_OVER, which only learn, nor RMB and WMB, which change what their own process knows.
_TELLS = (*_WRITES, *BARRIERS, Act.READER_ENDS, Act.GRACE)


def futures_of(code: Code, memory: int, domains: dict[int, int]) -> list[Future]:
    """For each step of a process, and its end, what it may do from there on.

    `memory` are the places that a pointer may lead to; `domains` the numbers of RCU and of each srcu_struct.
    """
    # Jumps lead forward only, so one pass from the end knows what follows each step.
    futures = [Future()] * (len(code.steps) + 1)
    for at in range(len(code.steps) - 1, -1, -1):
        step = code.steps[at]
        # A jump that is always taken: what stands after it is reached from elsewhere, or never.
        if step.act is None and step.target >= 0 and step.pointer is None:
            future = futures[step.target]
        else:
            future = futures[at + 1]
            if step.target >= 0:
                future = future.joined(futures[step.target])
        futures[at] = future.joined(_does(step, memory, domains))
    return futures


def _does(step: Step, memory: int, domains: dict[int, int]) -> Future:
    act = step.act
    looks = frozenset(step.led + step.fed)
    sets = frozenset((step.into,)) if step.into >= 0 else frozenset()
    if act is None:
        return Future(registers=looks, sets=sets)
    place = (1 << step.at if step.at >= 0 else memory) if act in _WRITES or act in _READS else 0
    domain = 1 << domains.get(step.domain, 0)
    return Future(
        touches=place,
        writes=place if act in _WRITES else 0,
        readers=domain if act is Act.READER else 0,
        graces=domain if act is Act.GRACE else 0,
        barriers=act in BARRIERS,
        tells=act in _TELLS,
        reads=act in _READS,
        registers=looks,
        sets=sets,
        pointers=step.pointer is not None,
        unlock_locks=act is Act.UNLOCK_LOCK_MB,
    )
