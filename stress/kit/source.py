"""Where a worker process gets a scenario from: its name and parameters, so that the patches are applied there, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sugarbush.concurrency.search import Opened
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.load import load_file, loaded_files
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import Scenario, Value, find_scenario


@dataclass(frozen=True, slots=True)
class ScenarioSource:
    """A registered scenario, with the values of its parameters, the checks that are switched off, the memory, how
    many allocations may fail, and the files that register scenarios of the user's own.
    """

    name: str
    values: Mapping[str, Value]
    without: frozenset[str]
    memory: str
    faults: int
    files: tuple[str, ...]

    @classmethod
    def of(cls, scenario: Scenario, without: frozenset[str], memory: str) -> ScenarioSource:
        """The source of `scenario`."""
        return cls(scenario.name, dict(scenario.values), without, memory, scenario.faults, loaded_files())

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """Load what the sender has loaded, find the scenario by its name and patch it while the block runs.

        Raises `UnknownScenario` if the worker does not know it.
        """
        registry.load()
        for file in self.files:
            load_file(Path(file))
        scenario = find_scenario(self.name).given(self.values, self.faults)
        with applied(scenario.patches):
            yield scenario.program, scenario.settings(self.without, self.memory)
