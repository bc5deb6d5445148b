"""What a person looks at: an execution as a page, and as a trace for Perfetto."""

from sugarbush.stress.report.html import page
from sugarbush.stress.report.pages import INDEX, write_pages, write_proofs
from sugarbush.stress.report.proofs import PROOFS
from sugarbush.stress.report.recording import Recorded, recorded
from sugarbush.stress.report.tracing import perfetto

__all__ = [
    "INDEX",
    "PROOFS",
    "Recorded",
    "page",
    "perfetto",
    "recorded",
    "write_pages",
    "write_proofs",
]
