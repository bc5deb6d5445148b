"""Findings as one HTML page without scripts: the graph first, then each finding. Names of a log are text in
it, never markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from sugarbush.lockdep.read.gathering import Finding
from sugarbush.lockdep.read.graphs import snapshot_of
from sugarbush.lockdep.read.wording import as_text, harmless
from sugarbush.lockdep.show import to_svg

_STYLE: Final = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#222}"
    "pre{background:#f6f6f4;padding:1rem;overflow-x:auto;border-radius:6px;font-size:13px}"
    ".graph{overflow-x:auto}h2{border-top:1px solid "
    "#ccc;padding-top:1rem;font-size:1.1rem}td,th{text-align:left;padding:.2rem .8rem}"
)


def to_page(findings: Iterable[Finding], title: str = "Lock reports") -> str:
    """The page. It loads nothing, so it can be kept with the logs."""
    every = list(findings)
    return "\n".join(_page(every, title)) + "\n"


def _page(findings: list[Finding], title: str) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{_text(title)}</h1>"
    drawn = snapshot_of(one.report for one in findings)
    if drawn.edges:
        yield '<p>Outer locks above inner ones; the orders that close a cycle are red.</p><div class="graph">'
        yield harmless(to_svg(drawn))
        yield "</div>"
    yield "<table><tr><th>identity</th><th>title</th><th>seen</th><th>kernels</th></tr>"
    for at, one in enumerate(findings):
        cells = (
            one.identity or "incomplete",
            one.report.title or one.report.headline,
            str(one.count),
            ", ".join(one.kernels),
        )
        linked = f'<a href="#f{at}">{_text(cells[0])}</a>'
        yield f"<tr><td>{linked}</td>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells[1:]) + "</tr>"
    yield "</table>"
    for at, one in enumerate(findings):
        yield f'<section id="f{at}"><h2>{_text(one.report.title or one.report.headline or one.report.word)}</h2>'
        yield f"<pre>{_text(as_text([one]))}</pre></section>"
    yield "</body></html>"


def _text(text: str) -> str:
    return escape(harmless(text), quote=True)
