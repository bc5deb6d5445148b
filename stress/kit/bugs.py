"""Bugs of the catalogue: what is known of each, the patch that brings it back, and the workload that meets it.

    @bug("brk-false-vma", id="Z01", title="...", year=2022, ..., patches=(do_brk_munmap,), check="coverage")
    def brk_false_vma() -> None:
        "One line that `sugarbush list` shows."

One program serves both forms: the scenario NAME runs it with the patches, NAME-fixed without them. A bug in an
operation that the model lacks is a program without patches, and `fixed_program` is that with the operation put right:

    def fixed() -> None:
        run(with_the_new_operation_as_it_should_be)

    @bug("my-operation", fixed_program=fixed, ...)
    def my_operation() -> None:
        "One line that `sugarbush list` shows."
        run(with_the_new_operation_as_it_was_written_first)

The story of a bug is the docstring of its file.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sugarbush.concurrency import Kind, SugarbushError
from sugarbush.concurrency.lowlevel import Observer
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.kit.patches import Patch
from sugarbush.stress.kit.scenarios import BadScenario, Scenario, check_kinds, did_you_mean, scenario

_FIXED = "-fixed"

Evidence = Literal["read", "as far as we know"]
"""Whether the facts were read in the sources, or come from general knowledge."""


class UnknownBug(SugarbushError):
    """No bug of the catalogue has this name; the message gives those that are spelt alike."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One entry of the catalogue.

    `id` is its number in the tables of known bugs. `fix` is the subject of the commit that repaired it, or how it was
    repaired. `kind` and `check` say what failure shows it. `tasks` and `preemptions` are the smallest numbers with
    which it can happen, as computed on a model of its steps; None where nobody did.
    """

    id: str
    title: str
    year: int
    versions: str
    cve: str | None
    fix: str
    evidence: Evidence
    kind: Kind
    check: str | None
    tasks: int | None
    preemptions: int | None
    broken: Scenario
    fixed: Scenario
    story: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the bug by its name."""
        return find_bug, (self.name,)

    @property
    def name(self) -> str:
        """The scenario that has the bug."""
        return self.broken.name


_bugs: dict[str, Bug] = {}


def bug(
    name: str,
    *,
    id: str,  # noqa: A002 - the word of the tables
    title: str,
    year: int,
    versions: str,
    fix: str,
    evidence: Evidence,
    kind: Kind,
    patches: tuple[Patch, ...] = (),
    fixed_program: Callable[[], Any] | None = None,
    check: str | None = None,
    cve: str | None = None,
    tasks: int | None = None,
    preemptions: int | None = None,
    fixed: str | None = None,
    era: str = "6.1",
    faults: int = 0,
    without: tuple[str, ...] = (),
    memory: str = "sc",
    observers: Callable[[], Sequence[Observer]] = model_observers,
) -> Callable[[Callable[[], Any]], Bug]:
    """Register the decorated workload as the bug `name`, with its patched scenario and the one called `fixed`.

    The fixed form runs `fixed_program`, or else the same workload. Raises `BadScenario` if that makes both forms one.
    """

    def register(program: Callable[[], Any]) -> Bug:
        if not patches and fixed_program in (None, program):
            raise BadScenario(
                f"bug {name!r} has neither patches nor a fixed_program of its own, so its fixed form would be the bug"
            )
        texts = {"id": id, "title": title, "versions": versions, "fix": fix, "evidence": evidence}
        check_kinds(
            f"bug {name!r}",
            {
                **{what: (text, str) for what, text in texts.items()},
                "year": (year, int),
                "cve": (cve, str | None),
                "check": (check, str | None),
                "kind": (kind, Kind),
                "tasks": (tasks, int | None),
                "preemptions": (preemptions, int | None),
            },
        )
        how: dict[str, Any] = {
            "era": era,
            "faults": faults,
            "without": without,
            "memory": memory,
            "observers": observers,
        }
        made = _bugs[name] = Bug(
            id=id,
            title=title,
            year=year,
            versions=versions,
            cve=cve,
            fix=fix,
            evidence=evidence,
            kind=kind,
            check=check,
            tasks=tasks,
            preemptions=preemptions,
            broken=scenario(name, expect=check or kind.value, patches=patches, **how)(program),
            fixed=scenario(fixed or name + _FIXED, **how)(fixed_program or program),
            story=inspect.getdoc(sys.modules[program.__module__]) or "",
        )
        return made

    return register


def all_bugs() -> list[Bug]:
    """The catalogue, by id."""
    return sorted(_bugs.values(), key=lambda bug: (bug.id, bug.name))


def find_bug(name: str) -> Bug:
    """The bug of this name or id; raises `UnknownBug`."""
    for one in all_bugs():
        if name in (one.name, one.id):
            return one
    raise UnknownBug(f"no bug is called {name!r}: {did_you_mean(name, _bugs, 'list')}")
