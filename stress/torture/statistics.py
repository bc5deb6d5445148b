"""What rcutorture counts, and the lines that it prints.

Kernel: rcu_torture_stats_print() in kernel/rcu/rcutorture.c, v6.6.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

PIPE_LENGTH = 10
"""How many grace periods an element waits for before it is used again."""


def _histogram() -> list[int]:
    return [0] * (PIPE_LENGTH + 1)


@dataclass(slots=True)
class Statistics:
    """The counters of one task, of one execution, or of many. The names are those of the line that they stand in.

    `reader_pipe` counts readers by how many grace periods their element had seen in the end, `reader_batch` by how many
    began meanwhile, and `circulation` how often elements got as far.
    """

    ver: int = 0
    rta: int = 0
    rtaf: int = 0
    rtf: int = 0
    rtmbe: int = 0
    rtbe: int = 0
    cookies: int = 0
    nt: int = 0
    barriers_ok: int = 0
    barriers: int = 0
    read_exits: int = 0
    executions: int = 0
    reader_pipe: list[int] = field(default_factory=_histogram)
    reader_batch: list[int] = field(default_factory=_histogram)
    circulation: list[int] = field(default_factory=_histogram)

    def add(self, other: Statistics) -> None:
        """Count what `other` has counted."""
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            if isinstance(mine, list):
                for at, count in enumerate(theirs):
                    mine[at] += count
            else:
                setattr(self, one.name, mine + theirs)

    @property
    def failed(self) -> bool:
        """A test like this one has failed."""
        return bool(self.rtmbe or self.rtbe or self.cookies or any(self.reader_pipe[2:]))

    def lines(self, flavour: str) -> list[str]:
        """The statistics as the kernel prints them; an exclamation mark says what is wrong."""
        flag = f"{flavour}-torture:"
        bad = "!!! " if self.failed else ""
        return [
            f"{flag} {bad}rtc: {flavour}_torture_current ver: {self.ver} tfle: {int(self.rtaf > 0)} "
            f"rta: {self.rta} rtaf: {self.rtaf} rtf: {self.rtf} rtmbe: {self.rtmbe} rtmbkf: 0/0 rtbe: {self.rtbe} "
            f"rtbke: 0 rtbre: 0 rtbf: 0 rtb: 0 nt: {self.nt} "
            f"barrier: {self.barriers_ok}/{self.barriers}:{self.rtbe} read-exits: {self.read_exits}",
            _line(flag, bad and any(self.reader_pipe[2:]), "Reader Pipe", self.reader_pipe),
            _line(flag, False, "Reader Batch", self.reader_batch),
            _line(flag, False, "Free-Block Circulation", self.circulation),
        ]

    def end(self, flavour: str) -> str:
        """The last line of a test."""
        return f"{flavour}-torture:--- End of test: {'FAILURE' if self.failed else 'SUCCESS'}"


def _line(flag: str, bad: object, title: str, counts: list[int]) -> str:
    return f"{flag} {'!!! ' if bad else ''}{title}:  {' '.join(map(str, counts))}"
