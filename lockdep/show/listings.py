"""The validator's listings as text, with the fields of the kernel's files in /proc."""

from __future__ import annotations

from collections.abc import Iterator

from sugarbush.lockdep.show.snapshot import Snapshot


def lockdep_text(snapshot: Snapshot) -> str:
    """The classes and the dependencies of distance 1 (kernel: /proc/lockdep)."""
    keys = {row.number: row.key for row in snapshot.classes}
    names = snapshot.names
    lines = ["all lock classes:"]
    for row in snapshot.classes:
        lines.append(
            f"{row.key:016x} OPS:{row.operations:8} FD:{row.forward:5} BD:{row.backward:5} {row.usage}: {row.name}"
        )
        lines.extend(f" -> [{keys[number]:016x}] {names[number]}" for number in row.after)
        lines.append("")
    return _joined(lines)


def chains_text(snapshot: Snapshot) -> str:
    """The stacks that were validated (kernel: /proc/lockdep_chains)."""
    keys = {row.number: row.key for row in snapshot.classes}
    names = snapshot.names
    lines = ["all lock chains:"]
    for row in snapshot.chains:
        lines.append(f"irq_context: {row.context}")
        lines.extend(f"[{keys[number]:016x}] {names[number]}" for number, _ in row.locks)
        lines.append("")
    return _joined(lines)


def stats_text(snapshot: Snapshot) -> str:
    """The counters (kernel: /proc/lockdep_stats). No table has a maximum."""
    return _joined(f" {f'{name}:':<34}{count:11}" for name, count in snapshot.stats.items())


def held_text(snapshot: Snapshot) -> str:
    """What every task holds (kernel: SysRq-d)."""
    lines = ["", "Showing all locks held in the system:"]
    for row in snapshot.held:
        if row.locks:
            lines.append(
                f"{len(row.locks)} lock{'s' if len(row.locks) > 1 else ''} held by {row.comm}/{row.pid}:"
            )
            lines.extend(f" #{index}: {line}" for index, line in enumerate(row.locks))
        else:
            lines.append(f"no locks held by {row.comm}/{row.pid}.")
        # The kernel lists a lock from the moment on at which it is asked for, and leaves it to the reader to see that
        # the last one may be what the task waits for.
        if row.wanted:
            lines.append(f" waits for: {row.wanted}")
    lines.extend(("", "============================================="))
    return _joined(lines)


def reports_text(snapshot: Snapshot) -> str:
    """All reports, in order."""
    return "".join(row.text for row in snapshot.reports)


_STAT_COLUMNS = (
    "con-bounces",
    "contentions",
    "waittime-min",
    "waittime-max",
    "waittime-total",
    "waittime-avg",
    "acq-bounces",
    "acquisitions",
    "holdtime-min",
    "holdtime-max",
    "holdtime-total",
    "holdtime-avg",
)


def lock_stat_text(snapshot: Snapshot) -> str:
    """Contention and times in microseconds (kernel: /proc/lock_stat), the most contended class first."""
    width = 40
    rule = "-" * (width + 15 * len(_STAT_COLUMNS))
    lines = ["lock_stat version 0.4", rule]
    lines.append(f"{'class name':>{width}}" + "".join(f"{column:>15}" for column in _STAT_COLUMNS))
    lines.append(rule)
    for row in snapshot.lock_stat:
        numbers = (row[column] for column in _STAT_COLUMNS)
        cells = "".join(f"{value:15.2f}" if isinstance(value, float) else f"{value:15}" for value in numbers)
        lines.extend(("", f"{row['name'] + ':':>{width}}{cells}"))
        lines.extend(_points(row["name"], row["contention points"], width))
        lines.extend(_points(row["name"], row["contending points"], width))
    return _joined(lines)


def _points(name: str, points: dict[str, int], width: int) -> Iterator[str]:
    if points:
        yield f"{'-' * len(name):>{width}}"
    for site, count in points.items():
        yield f"{name:>{width}}{count:15}          [<>] {site}"


def _joined(lines: Iterator[str] | list[str]) -> str:
    return "\n".join(lines) + "\n"
