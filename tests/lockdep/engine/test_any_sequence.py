"""Any sequence of calls leaves the held stack and its place in the tree of chains in step."""

from __future__ import annotations

import random

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockClassKey, LockMap, WaitType
from sugarbush.lockdep.model import gfp
from sugarbush.lockdep.model.chains import Chain
from sugarbush.lockdep.model.keys import Order
from sugarbush.lockdep.show.snapshot import take


def check(world: World) -> None:
    ctx = world.ctx
    below: dict[int, Chain] = {}
    for entry in ctx.held:
        chain = entry[1]
        assert chain.parent is below.get(chain.context, chain.parent)
        if chain.context not in below:
            assert chain.parent.is_root
        below[chain.context] = chain
    top = below.get(ctx.irq_context)
    assert ctx.chain is top if top is not None else ctx.chain.is_root


class Actor:
    """Does random things to one task; handlers are left in the order in which they came."""

    def __init__(self, chance: random.Random, order: Order | None = None) -> None:
        self.world, self.chance = World(), chance
        self.nest = self.world.lock("nest", order=order)
        waits = (WaitType.INV, WaitType.SPIN, WaitType.CONFIG, WaitType.SLEEP)
        self.locks = [
            self.world.lock(chance.choice("abcdef"), chance.choice(waits), order=order) for _ in range(12)
        ]
        self.handlers: list[str] = []
        self.bh = 0
        self.off = 0

    def lock(self) -> LockMap:
        return self.chance.choice([*self.locks, self.nest])

    def acquire(self) -> None:
        chance = self.chance
        self.world.lockdep.acquire(
            self.lock(),
            read=chance.randrange(3),
            trylock=chance.random() < 0.3,
            subclass=chance.choice((0, 0, 0, 1, 2)),
            check=chance.random() < 0.9,
            nest_lock=self.nest if chance.random() < 0.3 else None,
            sync=chance.random() < 0.1,
        )

    def release(self) -> None:
        held = self.world.ctx.held
        self.world.lockdep.release(self.chance.choice(held)[0] if held else self.lock())

    def release_any(self) -> None:
        self.world.lockdep.release(self.lock())

    def downgrade(self) -> None:
        self.world.lockdep.downgrade(self.lock())

    def set_class(self) -> None:
        self.world.lockdep.set_class(self.lock(), LockClassKey("new"), subclass=self.chance.randrange(2))

    def pin(self) -> None:
        self.world.lockdep.unpin(self.lock(), self.world.lockdep.pin(self.lock()))

    def irqs(self) -> None:
        self.chance.choice((self.world.lockdep.hardirqs_on, self.world.lockdep.hardirqs_off))()

    def bottom_halves(self) -> None:
        if self.bh and self.chance.random() < 0.6:
            self.bh -= 1
            self.world.lockdep.local_bh_enable()
        else:
            self.bh += 1
            self.world.lockdep.local_bh_disable()

    def handler(self) -> None:
        if self.handlers and self.chance.random() < 0.6:
            getattr(self.world.lockdep, f"{self.handlers.pop()}_exit")()
        elif len(self.handlers) < 3:
            self.handlers.append(self.chance.choice(("hardirq", "softirq", "nmi")))
            getattr(self.world.lockdep, f"{self.handlers[-1]}_enter")()

    def allocate(self) -> None:
        self.world.lockdep.might_alloc(self.chance.choice((gfp.GFP_KERNEL, gfp.GFP_NOFS, gfp.GFP_ATOMIC)))

    def rcu(self) -> None:
        self.chance.choice((self.world.lockdep.rcu_read_lock, self.world.lockdep.rcu_read_unlock))()

    def step(self) -> None:
        rare = (self.downgrade, self.set_class, self.pin, self.irqs, self.bottom_halves, self.handler)
        often = (self.acquire,) * 6 + (self.release,) * 5 + (self.release_any, self.allocate, self.rcu)
        self.chance.choice(often + rare)()


@pytest.mark.parametrize("seed", range(40))
def test_any_sequence_of_calls(seed: int) -> None:
    actor = Actor(random.Random(seed))
    for _ in range(150):
        actor.step()
        check(actor.world)
    for report in actor.world.lockdep.reports:
        assert report.headline in report.render()
    take(actor.world.lockdep)


@pytest.mark.parametrize("seed", range(40))
def test_knowing_a_stack_hides_nothing(seed: int) -> None:
    """An ordering function that orders nothing makes the validator look at every acquire: same reports."""
    remembering = Actor(random.Random(seed))
    looking = Actor(random.Random(seed), order=lambda held, wanted: 0)
    for _ in range(300):
        remembering.step()
        looking.step()
    found = [report.key for report in remembering.world.lockdep.reports]
    assert found == [report.key for report in looking.world.lockdep.reports]
    assert len(found) > 10
