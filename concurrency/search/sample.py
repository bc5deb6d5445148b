"""Samples: what costs too much to be heard in every execution is heard in every so-many-th."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from sugarbush.concurrency.checks import Meeting
from sugarbush.concurrency.core import Observer
from sugarbush.concurrency.runtimes import Settings

R = TypeVar("R")


class Sampler(Observer):
    """Hears the executions whose number is a multiple of `every`, and must not change any of them.

    A class of this kind is made without arguments, also in another process; what it has heard there is added here.
    """

    every = 17
    """A prime, so that of strategies which take turns (a portfolio) each one is heard."""

    hears: Any = Any
    """The type of what it has `taken`: data of another process is read by it (`concurrency.core.wire`)."""

    def taken(self) -> Any:
        """What it has heard since the last time, as data that can be sent to another process."""
        raise NotImplementedError

    def add(self, taken: Any) -> None:
        """Count what another one of its class has `taken`."""
        raise NotImplementedError


class Runtimes(Generic[R]):
    """The runtimes of one exploration; two of them differ in who listens.

    A `sampler` hears each so-many-th execution. A `Meeting` hears all until two tasks have met, which is in the first
    one for most programs; no later one pays for it.
    """

    def __init__(self, make: Callable[[Settings], R], settings: Settings, sampler: Sampler | None) -> None:
        self._make = make
        self._settings = settings
        self._sampler = sampler
        self._made: dict[tuple[bool, bool], R] = {}
        self.meeting = Meeting()

    def of(self, number: int) -> R:
        """The runtime for execution `number`."""
        sampled = self._sampler is not None and number % self._sampler.every == 0
        key = (sampled, not self.meeting.met)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._make(self._with(*key))
        return found

    def _with(self, sampled: bool, watched: bool) -> Settings:
        settings = self._settings
        more: list[Observer] = [self.meeting] if watched else []
        if sampled and self._sampler is not None:
            more.append(self._sampler)
        if not more:
            return settings
        return replace(settings, observers=lambda: (*settings.further(), *more))
