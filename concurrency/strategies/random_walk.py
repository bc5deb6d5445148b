"""Random walk: at each switch point every runnable task is equally likely."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from random import Random

from sugarbush.concurrency.core import Task
from sugarbush.concurrency.strategies.base import NUMBER_BITS, seeded

_BLOCK = 256


class RandomWalk:
    """Chooses uniformly at each switch point; execution `i` depends on (`seed`, `i`) only."""

    name = "random"
    lease = 1
    numbers: Iterator[int]

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random()
        self.begin(0)

    def _block(self, length: int) -> array[int]:
        """So many numbers of `NUMBER_BITS` bits, the same on machines of either byte order."""
        numbers = array("H", self._random.randbytes(2 * length))
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers

    def begin(self, execution: int) -> None:
        """Start the random stream of this execution."""
        seeded(self._random, self._seed, execution)
        # The runtime takes these itself, which spares a call at every switch point.
        self.numbers = chain.from_iterable(map(self._block, repeat(_BLOCK)))

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """Any runnable task."""
        return runnable[self.data(len(runnable), "task")]

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """Any value."""
        return next(self.numbers) * n >> NUMBER_BITS

    def end(self, steps: int, forced: int) -> None:
        """Nothing is carried over."""
