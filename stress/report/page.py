"""The page: one HTML file with everything in it, for a browser without a network.

The charts are Vega-Lite (https://vega.github.io), whose library the page carries. What is shown travels as JSON and is
put on the page as text, so nothing in it can become a part of the page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from concurrency import ConcurrencyError
from concurrency.explain import Pair
from stress.report.chart import chart
from stress.report.film import Film

_EXPOSE = "window.vegaEmbed = vegaEmbed;"


def page(films: Sequence[Film], pairs: Sequence[Sequence[Pair]]) -> str:
    """The HTML of the page; `pairs` are, for each film, the orders that matter."""
    environment = Environment(
        loader=PackageLoader("stress.report", "assets"), autoescape=True, undefined=StrictUndefined
    )
    data = [_told(one, matter) for one, matter in zip(films, pairs, strict=True)]
    return environment.get_template("page.html").render(
        title=", ".join(dict.fromkeys(one.name for one in films)),
        data=_harmless(json.dumps(data)),
        style=_asset("page.css"),
        script=_asset("page.js"),
        library=_library(),
    )


def _library() -> str:
    try:
        import vl_convert
    except ImportError:
        raise ConcurrencyError(
            "the page needs the package vl-convert-python: install 'sugarbush[report]'"
        ) from None
    return vl_convert.javascript_bundle(_EXPOSE).replace("</script", "<\\/script")


def _asset(name: str) -> str:
    return (resources.files("stress.report") / "assets" / name).read_text(encoding="utf-8")


def _harmless(text: str) -> str:
    """JSON that cannot end the element it stands in."""
    return text.replace("<", "\\u003c")


def _told(film: Film, pairs: Sequence[Pair]) -> dict[str, Any]:
    failure = film.failure
    sections: dict[str, int] = {}
    worlds = [
        [sections.setdefault(json.dumps(section), len(sections)) for section in world]
        for world in film.worlds
    ]
    return {
        "name": film.name,
        "kind": failure.kind.value,
        "headline": failure.headline,
        "detail": failure.detail,
        "check": failure.check,
        "failed": {"task": failure.task, "step": failure.step},
        "schedule": str(film.schedule),
        "tasks": film.tasks,
        "total": film.total,
        "steps": [asdict(step) for step in film.steps],
        "spans": [asdict(span) for span in film.spans],
        "sections": [json.loads(section) for section in sections],
        "worlds": worlds,
        "worldAt": film.world_at,
        "stacks": film.stacks,
        "stacksAt": film.stacks_at,
        "lockGraph": film.lock_graph,
        "reports": film.reports,
        "pairs": [{"text": str(pair), "steps": [pair.first.step, pair.second.step]} for pair in pairs],
        "chart": chart(film, pairs),
    }
