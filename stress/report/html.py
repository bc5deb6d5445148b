"""The page: one HTML file with everything in it, for a browser without a network.

The charts are Vega-Lite (https://vega.github.io), whose library the page carries. What is shown travels as JSON and is
put on the page as text, so nothing in it can become a part of the page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from sugarbush.concurrency import ConcurrencyError
from sugarbush.concurrency.witness import Pair
from sugarbush.stress.report.data import packed
from sugarbush.stress.report.recording import Recorded

_EXPOSE = "window.vegaEmbed = vegaEmbed; window.dispatchEvent(new Event('library'));"
_SCRIPTS = ("film.js", "panels.js", "page.js")


def page(executions: Sequence[Recorded], pairs: Sequence[Sequence[Pair]]) -> str:
    """The HTML of the page; `pairs` are, for each of them, the orders that matter."""
    environment = Environment(
        loader=PackageLoader("sugarbush.stress.report", "assets"), autoescape=True, undefined=StrictUndefined
    )
    data = [packed(one, matter) for one, matter in zip(executions, pairs, strict=True)]
    return environment.get_template("page.html").render(
        title=", ".join(dict.fromkeys(one.name for one in executions)),
        films=executions,
        data=[_harmless(json.dumps(one, separators=(",", ":"))) for one in data],
        style=_asset("page.css"),
        script="\n".join(map(_asset, _SCRIPTS)),
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
    return (resources.files("sugarbush.stress.report") / "assets" / name).read_text(encoding="utf-8")


def _harmless(text: str) -> str:
    """JSON that cannot end the element it stands in."""
    return text.replace("<", "\\u003c")
