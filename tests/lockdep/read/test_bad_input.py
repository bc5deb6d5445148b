"""What is no log, or a hostile one: no report that nobody printed, no traceback, flat memory, harmless output."""

from __future__ import annotations

import io
import json
import tracemalloc
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from printed import Lock, circular

from sugarbush.lockdep.read import as_text, dumps, gather, read_stream, read_text, to_json, to_page, to_sarif
from sugarbush.stress.cli.app import main

CASES = Path(__file__).parents[2] / "data" / "lock-reports"
CIRCULAR = (CASES / "10-circular-6.15.log").read_bytes()
HEADLINES = [
    "WARNING: possible circular locking dependency detected",
    "WARNING: possible recursive locking detected",
    "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
    "WARNING: possible irq lock inversion dependency detected",
    "WARNING: inconsistent lock state",
    "[ BUG: Invalid wait context ]",
    "WARNING: suspicious RCU usage",
    "WARNING: bad unlock balance detected!",
    "WARNING: held lock freed!",
    "WARNING: lock held when returning to user space!",
    "WARNING: cook/7 still has locks held!",
    "WARNING: Nested lock was not taken",
    "INFO: trying to register non-static key.",
    "BUG: MAX_LOCKDEP_CHAINS too low!",
    "BUG: sleeping function called from invalid context at kitchen/mutex.c:5",
    "BUG: scheduling while atomic: cook/7/0x00000002",
    "Showing all locks held in the system:",
    "BUG: KCSAN: data-race in bake / knead",
]


def read(data: bytes) -> list[Any]:
    return list(read_stream(io.BytesIO(data), "log"))


@pytest.mark.parametrize("words", HEADLINES)
def test_words_in_source_mails_and_prose_are_no_report(words: str) -> None:
    prose = f"""Subject: Re: {words}
Subject: [bug]
 {words}
> I get "{words}" every day.
  pr_warn("{words}\\n");
\tprintk("\\n{words}\\n");
static const char msg[] = "{words}";
grep -q '{words}' dmesg.txt
* {words} is what lockdep says
The line
{words}
means that somebody took locks in the wrong order.
+\tif (strstr(line, "{words}"))
CONFIG_PROVE_LOCKING=y
INFO: lockdep is turned off.
"""
    assert read(prose.encode()) == []


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(CIRCULAR.splitlines()),
            st.sampled_from([words.encode() for words in HEADLINES]),
            st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.sampled_from(
                [
                    b"\x1b[2J",
                    b"=3D=3D=3D=3D",
                    b"&gt;&amp;gt;",
                    b"a\\n" * 9,
                    b"#012#012",
                    b"\xff\xfe",
                    b"\0" * 9,
                ]
            ),
        ),
        max_size=60,
    ),
    st.sampled_from([b"\n", b"\r\n", b"", b"\n\n"]),
)
def test_anything_is_read_and_shown(parts: list[bytes], end: bytes) -> None:
    reports = read(end.join(parts))
    whole = {report.key for report in read(CIRCULAR)}
    assert {report.key for report in reports if report.edges} <= whole
    findings = gather(reports)
    text = as_text(findings)
    assert all(char.isprintable() or char == "\n" for char in text)
    json.loads(dumps(to_json(findings)))
    json.loads(dumps(to_sarif(findings)))
    to_page(findings)


class _Endless(io.RawIOBase):
    """So many blocks of one content, made as they are read."""

    def __init__(self, block: bytes, times: int) -> None:
        self.block, self.left = block, times

    def read(self, _size: int = -1) -> bytes:
        self.left -= 1
        return self.block if self.left >= 0 else b""


SLOW = pytest.mark.exhaustive


@pytest.mark.parametrize(
    "block",
    [
        b"[   12.345678] usb 3-1: link is up\n" * 29_000,
        b"x" * (1 << 20),
        pytest.param(b"(" * (1 << 20), marks=SLOW),
        pytest.param(b" " * (1 << 20), marks=SLOW),
        b"\0" * (1 << 20),
        pytest.param(b"is trying to acquire " * 50_000, marks=SLOW),
        b"[ 1.000000] INFO: task a:1 blocked for more than 9 seconds.\n"
        + b"[ 1.000001]  "
        + b"f+0x1/0x2 " * 50_000,
    ],
    ids=["quiet", "no-newline", "parentheses", "blanks", "zeros", "words", "one-long-line"],
)
def test_memory_does_not_grow_with_the_log(block: bytes) -> None:
    peaks = []
    for times in (6, 12):
        tracemalloc.start()
        for _ in read_stream(_Endless(block, times), "pipe"):  # type: ignore[arg-type]
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2 + (1 << 20)
    assert peaks[1] < 100 << 20


def test_a_million_writers_are_no_million_open_reports() -> None:
    lines = [f"[  1.000000][T{n}] WARNING: possible circular locking dependency detected" for n in range(600)]
    assert len(read("\n".join(lines).encode())) == 600


HOSTILE = "&</pre><script>alert(1)</script>\"'->lock"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


def test_names_are_text_on_the_page_and_in_files() -> None:
    lines = circular([Lock(HOSTILE), Lock("\x1b[2J&b->lock\x07"), Lock('"c" -> d\\')])
    findings = gather(read_text("\n".join(lines), "</title><script>"))
    (finding,) = findings
    assert HOSTILE in finding.report.cycle
    tags = _Tags()
    page = to_page(findings, "</title><script>")
    tags.feed(page)
    assert "script" not in tags.seen
    assert "\x1b" not in page + as_text(findings)
    assert "\x07" not in page + as_text(findings)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(["lockdep", *arguments])
    said = capsys.readouterr()
    return int(exit_info.value.code or 0), said.out, said.err


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\1\2\xff" * 500,
        b"\x1f\x8b broken gzip",
        b"BZh9broken",
        b"\xfd7zXZ\0broken",
        zlib.compress(b"x" * 99),
        b"{" * 99,
        b"[1,2",
    ],
)
def test_a_file_that_is_no_log_is_one_line(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(content)
    for options in ((), ("--events",), ("--json",), ("--classes",)):
        status, _, complaint = run(capsys, str(log), *options)
        assert status in (0, 2)
        assert complaint.count("\n") == (status == 2)


def test_devices_and_what_is_not_there_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for path, why in (("/dev/zero", "neither a file nor a pipe"), ("/nowhere/x.log", "No such file")):
        status, _, complaint = run(capsys, path)
        assert (status, complaint.count("\n")) == (2, 1)
        assert why in complaint
