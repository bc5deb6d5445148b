"""Samples: what costs too much to be heard in every execution is heard in every so-many-th."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from concurrency.observer import Observer
from concurrency.settings import Settings

R = TypeVar("R")


class Sampler(Observer):
    """Hears the executions whose number is a multiple of `every`, and must not change any of them.

    A class of this kind is made without arguments, also in another process; what it has heard there is added here.
    """

    every = 17
    """A prime, so that strategies which take turns are all heard."""

    def taken(self) -> Any:
        """What it has heard since the last time, as data that can be sent to another process."""
        raise NotImplementedError

    def add(self, taken: Any) -> None:
        """Count what another one of its class has `taken`."""
        raise NotImplementedError


class Runtimes(Generic[R]):
    """The runtimes of one exploration: one for most executions, and one that a sampler hears."""

    def __init__(self, make: Callable[[Settings], R], settings: Settings, sampler: Sampler | None) -> None:
        self._plain = self._heard = make(settings)
        self._every = 1
        if sampler is not None:
            self._every = sampler.every
            self._heard = make(replace(settings, observers=lambda: (*settings.observers(), sampler)))

    def of(self, number: int) -> R:
        """The runtime for execution `number`."""
        return self._plain if number % self._every else self._heard
