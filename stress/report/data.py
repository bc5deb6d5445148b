"""A recorded execution as the page carries it: each text and state once, and since when each part of the state stood.

The state at a step is looked up, never made from the one before it, so it is the same from wherever one comes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from sugarbush.concurrency.witness import Pair
from sugarbush.stress.report.chart import chart
from sugarbush.stress.report.recording import Recorded
from sugarbush.stress.report.world import Section

_ABSENT = -1
"""In the place of a number of a state: at that step there is no such part."""


class _Numbers:
    """Numbers different values in the order in which they come."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}

    def __getitem__(self, value: Hashable) -> int:
        return self._known.setdefault(value, len(self._known))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._known)


class _Marks:
    """What one part of the state was: ascending steps, and the number that stood from each."""

    def __init__(self) -> None:
        self.at: list[int] = []
        self.what: list[int] = []

    def add(self, step: int, number: int) -> None:
        if (self.what[-1] if self.what else _ABSENT) != number:
            self.at.append(step)
            self.what.append(number)

    @property
    def both(self) -> list[list[int]]:
        return [self.at, self.what]


def packed(recorded: Recorded, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The data of `recorded` for page.js; `pairs` are the orders that matter."""
    failure = recorded.failure
    texts, states = _Numbers(), _Numbers()
    tasks = {task: number for number, task in enumerate(recorded.tasks)}
    moments = {moment.step: moment for pair in pairs for moment in (pair.first, pair.second)}
    return {
        "name": recorded.name,
        "kind": failure.kind.value,
        "headline": failure.headline,
        "detail": failure.detail,
        "failed": {"task": failure.task, "step": failure.step},
        "schedule": str(recorded.schedule),
        "tasks": recorded.tasks,
        "lives": [[tasks[life.task], life.start, life.end] for life in recorded.lives],
        "total": recorded.total,
        "steps": {
            "step": [one.step for one in recorded.steps],
            "task": [tasks[one.task] for one in recorded.steps],
            **{
                name: [texts[getattr(one, name)] for one in recorded.steps]
                for name in ("kind", "what", "on", "where")
            },
        },
        "spans": [
            [tasks[span.task], texts[span.what], texts[span.how], span.start, span.end]
            for span in recorded.spans
        ],
        "stacks": _stacks(recorded, texts, states),
        "world": _world(recorded, texts, states),
        "lockGraph": recorded.lock_graph,
        "reports": recorded.reports,
        "pairs": [{"text": str(pair), "steps": [pair.first.step, pair.second.step]} for pair in pairs],
        "moments": [
            {"step": step, "task": one.task, "what": f"{one.what}({one.on})", "where": one.where}
            for step, one in sorted(moments.items())
        ],
        "chart": chart(recorded, pairs),
        "states": list(states),
        "texts": list(texts),
    }


def _state(lines: Sequence[str], texts: _Numbers, states: _Numbers) -> int:
    return states[tuple(texts[line] for line in lines)]


def _stacks(recorded: Recorded, texts: _Numbers, states: _Numbers) -> list[list[list[int]]]:
    """For each task the marks of its stack."""
    marks = [_Marks() for _ in recorded.tasks]
    for step, number in recorded.stacks_at:
        for task, one in zip(recorded.tasks, marks, strict=True):
            stack = recorded.stacks[number].get(task)
            one.add(step, _ABSENT if stack is None else _state(stack, texts, states))
    return [one.both for one in marks]


def _world(recorded: Recorded, texts: _Numbers, states: _Numbers) -> list[dict[str, Any]]:
    """For each section its title, its form, and the marks of its lines."""
    named = [_named(world) for world in recorded.worlds]
    order = _order(list(names) for names in named)
    marks = {title: _Marks() for title in order}
    forms = {title: form for names in named for title, (form, _) in names.items()}
    for step, number in recorded.world_at:
        for title, one in marks.items():
            _, lines = named[number].get(title, ("", []))
            one.add(step, _state(lines, texts, states) if lines else _ABSENT)
    return [{"title": title, "form": forms[title], "marks": marks[title].both} for title in order]


def _named(world: Sequence[Section]) -> dict[str, tuple[str, list[str]]]:
    """Form and lines by title; the second of two sections of one title is numbered."""
    named: dict[str, tuple[str, list[str]]] = {}
    for title, form, lines in world:
        count = 1
        name = title
        while name in named:
            count += 1
            name = f"{title} ({count})"
        named[name] = form, lines
    return named


def _order(rows: Iterator[list[str]]) -> list[str]:
    """All titles, a new one behind the one that it followed when it came."""
    order: list[str] = []
    for titles in rows:
        place = 0
        for title in titles:
            if title in order:
                place = order.index(title) + 1
            else:
                order.insert(place, title)
                place += 1
    return order
