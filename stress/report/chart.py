"""The lanes: tasks over operations, as a Vega-Lite specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sugarbush.concurrency.witness import Pair
from sugarbush.stress.report.recording import Recorded, Span

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Colours that the colour-blind can tell apart: Okabe and Ito, "Color Universal Design", 2008."""

TICKS = "ticks"
"""The data set that the page fills in, with an operation each, since it has them already."""

_ORDER = "#a05bc0"
_FAILURE = "#d9363e"
"""Colours that stand out on a light page and on a dark one."""
_ROW = 9
"""Pixels of a bar."""
_LEAST_ROWS = 2
_MARGIN = 0.02
"""Space behind the last operation, as a part of all."""
_FONT = 12
_LINE = 1.6
"""How far below the top of its lane, in rows, the line of a task is."""
_CONFIG = {
    "view": {"stroke": None},
    "axis": {"labelFontSize": _FONT, "titleFontSize": _FONT},
    "legend": {"orient": "bottom", "labelLimit": 240, "labelFontSize": _FONT, "titleFontSize": _FONT},
}
_NAME = {
    "type": "text",
    "align": "left",
    "baseline": "bottom",
    "dy": -3,
    "fontWeight": "bold",
    "fontSize": _FONT,
}
_WAITING = {
    "type": "bar",
    "height": _ROW - 3,
    "fillOpacity": 0.08,
    "fill": "#D55E00",
    "stroke": "#D55E00",
    "strokeDash": [3, 2],
    "strokeWidth": 1.5,
    "clip": True,
}
_CROSS = {"type": "point", "shape": "cross", "angle": 45, "size": 120, "filled": True, "color": _FAILURE}
_TIP = [{"field": name, "type": "nominal"} for name in ("task", "what", "how", "from", "to")]


def chart(recorded: Recorded, pairs: Sequence[Pair]) -> dict[str, Any]:
    """One lane a task: what it holds and what it waits for as bars, what it does as ticks, and the orders that matter.

    Where the page stands in time is drawn over it by the page itself, which is cheaper than to draw it anew. The page
    also makes the data set `TICKS`; ``usermeta`` has the height of each task's line.
    """
    bars, rows = _bars(recorded)
    locks = list(dict.fromkeys(span.what for span in recorded.spans if span.how != "waits"))
    lane: dict[str, Any] = {
        "field": "lane",
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [rows[-1], 0], "nice": False},
    }
    step: dict[str, Any] = {
        "field": "start",
        "type": "quantitative",
        "title": "operation",
        "scale": {"domain": [0, recorded.total * (1 + _MARGIN) + 1], "nice": False},
        "axis": {"grid": False, "tickMinStep": 1, "format": "d", "labelOverlap": True, "labelSeparation": 8},
    }
    base = {task: rows[number] for number, task in enumerate(recorded.tasks)}
    lanes = _lanes(recorded, base)
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": _ROW * rows[-1],
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": None,
        "usermeta": {"lines": [base[task] + _LINE for task in recorded.tasks]},
        "config": _CONFIG,
        "layer": [
            {
                "data": {"values": lanes},
                "mark": {"type": "bar", "height": 2, "color": "#8a8a8a", "clip": True},
                "params": [
                    {"name": "zoom", "select": {"type": "interval", "encodings": ["x"]}, "bind": "scales"}
                ],
                "encoding": {"x": step, "x2": {"field": "end"}, "y": lane},
            },
            {
                "data": {"values": lanes},
                "mark": _NAME,
                "encoding": {"x": {"value": 4}, "y": lane, "text": {"field": "task", "type": "nominal"}},
            },
            _held(bars, locks, step, lane),
            _waited(bars, step, lane),
            _ticks(step, lane),
            *_arrows(pairs, base, step, lane),
            {
                "data": {
                    "values": [
                        {"start": recorded.failure.step, "lane": base.get(recorded.failure.task, 0) + _LINE}
                    ]
                },
                "mark": _CROSS,
                "encoding": {"x": step, "y": lane},
            },
        ],
    }


def _held(
    bars: list[dict[str, Any]], locks: list[str], step: dict[str, Any], lane: dict[str, Any]
) -> dict[str, Any]:
    """What each task holds, a colour a lock; what it holds to read is paler."""
    return {
        "data": {"values": [bar for bar in bars if bar["how"] != "waits"]},
        "mark": {"type": "bar", "height": _ROW - 2, "clip": True, "aria": True},
        "encoding": {
            "x": step,
            "x2": {"field": "end"},
            "y": lane,
            "color": {
                "field": "what",
                "type": "nominal",
                "title": "lock",
                "scale": {"domain": locks, "range": OKABE_ITO},
            },
            "opacity": {"condition": {"test": "datum.how === 'to read'", "value": 0.55}, "value": 1},
            "tooltip": _TIP,
        },
    }


def _waited(bars: list[dict[str, Any]], step: dict[str, Any], lane: dict[str, Any]) -> dict[str, Any]:
    """What each task waits for, and for how long."""
    return {
        "data": {"values": [bar for bar in bars if bar["how"] == "waits"]},
        "mark": _WAITING,
        "encoding": {"x": step, "x2": {"field": "end"}, "y": lane, "tooltip": _TIP},
    }


def _ticks(step: dict[str, Any], lane: dict[str, Any]) -> dict[str, Any]:
    """What each task does, operation by operation."""
    tip = [{"field": name, "type": "nominal"} for name in ("task", "operation", "at", "where")]
    return {
        "data": {"name": TICKS},
        "mark": {
            "type": "tick",
            "orient": "vertical",
            "size": 6,
            "thickness": 1,
            "clip": True,
            "color": "#777",
        },
        "encoding": {"x": step, "y": lane, "tooltip": tip},
    }


def _bars(recorded: Recorded) -> tuple[list[dict[str, Any]], list[float]]:
    """The spans, each in a row of its task's lane where it meets no other; and where the lane of each task begins."""
    bars = []
    rows = [0.0]
    for task in recorded.tasks:
        ends: list[int] = []
        for span in recorded.spans:
            if span.task == task:
                row = _free_row(ends, span)
                bars.append(_bar(span, rows[-1] + _LINE + 0.7 + row))
        rows.append(rows[-1] + _LINE + 1.1 + max(len(ends), _LEAST_ROWS))
    return bars, rows


def _free_row(ends: list[int], span: Span) -> int:
    for row, end in enumerate(ends):
        if end <= span.start:
            ends[row] = span.end
            return row
    ends.append(span.end)
    return len(ends) - 1


def _bar(span: Span, lane: float) -> dict[str, Any]:
    return {
        "task": span.task,
        "what": span.what,
        "how": span.how,
        "start": span.start,
        "end": span.end,
        "from": span.start,
        "to": span.end,
        "lane": lane,
    }


def _lanes(recorded: Recorded, base: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {"task": life.task, "start": life.start, "end": life.end, "lane": base[life.task] + _LINE}
        for life in recorded.lives
    ]


def _arrows(
    pairs: Sequence[Pair], base: dict[str, float], step: dict[str, Any], lane: dict[str, Any]
) -> list[dict[str, Any]]:
    """From the operation that came first to the one after it, for each order that matters."""
    if not pairs:
        return []
    lines = [
        {
            "start": pair.first.step,
            "lane": base.get(pair.first.task, 0) + _LINE,
            "end": pair.second.step,
            "below": base.get(pair.second.task, 0) + _LINE,
            "text": str(pair),
        }
        for pair in pairs
    ]
    tips = [{"start": line["end"], "lane": line["below"], "text": line["text"]} for line in lines]
    starts = [{"start": line["start"], "lane": line["lane"], "text": line["text"]} for line in lines]
    tip = {"field": "text", "type": "nominal", "title": "matters"}
    line_mark = {"type": "rule", "strokeWidth": 2, "color": _ORDER, "clip": True}
    end = {"x2": {"field": "end"}, "y2": {"field": "below"}}
    dot = {"type": "point", "filled": True, "size": 60, "color": _ORDER}
    return [
        {
            "data": {"values": lines},
            "mark": line_mark,
            "encoding": {"x": step, "y": lane, **end, "tooltip": tip},
        },
        {
            "data": {"values": starts},
            "mark": dot | {"shape": "circle"},
            "encoding": {"x": step, "y": lane, "tooltip": tip},
        },
        {
            "data": {"values": tips},
            "mark": dot | {"shape": "triangle-down", "size": 110},
            "encoding": {"x": step, "y": lane, "tooltip": tip},
        },
    ]
