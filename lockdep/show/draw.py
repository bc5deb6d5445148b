"""The dependency graph as a picture: Graphviz text, or SVG laid out here."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape

from sugarbush.lockdep.show.snapshot import EdgeRow, Snapshot

ROW: Final = 90
GAP: Final = 30
HEIGHT: Final = 34
CHAR: Final = 8


def reported_edges(snapshot: Snapshot) -> set[tuple[str, str]]:
    """The dependencies, by class names, that close a cycle in some report."""
    edges: set[tuple[str, str]] = set()
    for row in snapshot.reports:
        if "chain" in row.fields:
            names = [link["wanted"]["name"] for link in row.fields["chain"]]
            edges.update(zip(names[1:], names[:-1], strict=True))
            edges.add((names[0], names[-1]))
    return edges


def to_dot(snapshot: Snapshot) -> str:
    """The graph for Graphviz; edges that stand in a reported cycle are red."""
    names = snapshot.names
    bad = reported_edges(snapshot)
    lines = ["digraph lockdep {", "  node [shape=box, fontname=monospace];"]
    lines.extend(
        f"  c{row.number} [label={_quoted(f'{row.name} {{{row.usage}}}')}];" for row in snapshot.classes
    )
    for edge in snapshot.edges:
        style = ", color=red" if (names[edge.prev], names[edge.next]) in bad else ""
        style += "" if edge.distance == 1 else ", style=dashed"
        lines.append(f"  c{edge.prev} -> c{edge.next} [label={_quoted('|'.join(edge.kinds))}{style}];")
    return "\n".join([*lines, "}", ""])


def to_svg(snapshot: Snapshot) -> str:
    """The graph as one SVG picture: outer locks above inner ones, reported cycles in red."""
    names = snapshot.names
    bad = reported_edges(snapshot)
    place = _layout(snapshot)
    widths = {row.number: CHAR * len(row.name) + 20 for row in snapshot.classes}
    right = max((x + widths[number] for number, (x, _) in place.items()), default=0) + GAP
    bottom = max((y for _, y in place.values()), default=0) + HEIGHT + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{bottom}" font-family="monospace"'
        ' font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
        ' orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    for edge in snapshot.edges:
        colour = "#c00" if (names[edge.prev], names[edge.next]) in bad else "#555"
        lines.append(_arrow(edge, place, widths, colour))
    for row in snapshot.classes:
        x, y = place[row.number]
        name, usage = escape(row.name), escape(row.usage)
        lines.append(
            f'<g><title>{name} {{{usage}}}-{{{row.outer}:{row.inner}}}</title><rect x="{x}" y="{y}"'
            f' width="{widths[row.number]}" height="{HEIGHT}" rx="5" fill="#fff" stroke="#333"/>'
            f'<text x="{x + 10}" y="{y + 22}">{name}</text></g>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _layout(snapshot: Snapshot) -> dict[int, tuple[int, int]]:
    """Where each class stands: a row deeper than the deepest class before it; cycles are cut."""
    after: dict[int, list[int]] = {row.number: [] for row in snapshot.classes}
    for edge in snapshot.edges:
        after[edge.prev].append(edge.next)
    depth = dict.fromkeys(after, 0)
    for number in reversed(_finished_order(after)):
        for other in after[number]:
            depth[other] = max(depth[other], depth[number] + 1) if other != number else depth[other]
    place: dict[int, tuple[int, int]] = {}
    next_x: dict[int, int] = {}
    for row in snapshot.classes:
        level = min(depth[row.number], len(after))
        x = next_x.get(level, GAP)
        place[row.number] = x, GAP + ROW * level
        next_x[level] = x + CHAR * len(row.name) + 20 + GAP
    return place


def _finished_order(after: dict[int, list[int]]) -> list[int]:
    """The classes in the order in which a depth-first walk leaves them."""
    order: list[int] = []
    seen: set[int] = set()
    for start in after:
        pending = [(start, False)]
        while pending:
            number, left = pending.pop()
            if left:
                order.append(number)
            elif number not in seen:
                seen.add(number)
                pending.append((number, True))
                pending.extend((other, False) for other in reversed(after[number]))
    return order


def _arrow(edge: EdgeRow, place: dict[int, tuple[int, int]], widths: dict[int, int], colour: str) -> str:
    x1, y1 = place[edge.prev]
    x2, y2 = place[edge.next]
    x1, x2 = x1 + widths[edge.prev] // 2, x2 + widths[edge.next] // 2
    if y1 < y2:
        y1, bend = y1 + HEIGHT, 0
    else:
        y2, bend = y2 + HEIGHT, 40
    middle = (y1 + y2) // 2
    dash = "" if edge.distance == 1 else ' stroke-dasharray="5 4"'
    title = f"{'|'.join(edge.kinds)} at {edge.site}"
    return (
        f'<path d="M{x1} {y1}C{x1 + bend} {middle} {x2 + bend} {middle} {x2} {y2}" fill="none"'
        f' stroke="{colour}"{dash} marker-end="url(#tip)"><title>{escape(title)}</title></path>'
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
