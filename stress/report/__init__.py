"""What a person looks at: an execution as a page, and as a trace for Perfetto."""

from sugarbush.stress.report.html import page
from sugarbush.stress.report.pages import INDEX, write_pages
from sugarbush.stress.report.recording import Film, film
from sugarbush.stress.report.tracing import perfetto

__all__ = [
    "INDEX",
    "Film",
    "film",
    "page",
    "perfetto",
    "write_pages",
]
