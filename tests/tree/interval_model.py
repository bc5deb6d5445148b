"""The plainest model of the tree: a sorted list of (first, last, entry)."""

from typing import Any

from sugarbush.tree import MAX

Range = tuple[int, int, Any]


class IntervalModel:
    def __init__(self) -> None:
        self.ranges: list[Range] = []

    def store(self, first: int, last: int, entry: Any) -> None:
        kept: list[Range] = []
        for begin, end, old in self.ranges:
            if begin < first:
                kept.append((begin, min(end, first - 1), old))
            if end > last:
                kept.append((max(begin, last + 1), end, old))
        if entry is not None:
            kept.append((first, last, entry))
        self.ranges = sorted(kept)

    def at(self, index: int) -> Range | None:
        return next((found for found in self.ranges if found[0] <= index <= found[1]), None)

    def load(self, index: int) -> Any:
        found = self.at(index)
        return found[2] if found else None

    def slot(self, index: int) -> Range:
        """The range that holds a key, set or unset."""
        found = self.at(index)
        if found:
            return found
        first = max((end + 1 for _, end, _ in self.ranges if end < index), default=0)
        last = min((begin - 1 for begin, _, _ in self.ranges if begin > index), default=MAX)
        return first, last, None

    def is_free(self, first: int, last: int) -> bool:
        return all(end < first or begin > last for begin, end, _ in self.ranges)

    def erase(self, index: int) -> Any:
        found = self.at(index)
        if found:
            self.ranges.remove(found)
        return found[2] if found else None

    def find(self, index: int, limit: int) -> Range | None:
        return next((found for found in self.ranges if found[1] >= index and found[0] <= limit), None)

    def find_rev(self, index: int, limit: int) -> Range | None:
        return next((r for r in reversed(self.ranges) if r[0] <= index and r[1] >= limit), None)

    def after(self, index: int, limit: int) -> Range | None:
        """The first entry that begins after the range at `index` ends."""
        begin = self.slot(index)[1]
        return next((found for found in self.ranges if begin < found[0] <= limit), None)

    def before(self, index: int, limit: int) -> Range | None:
        """The last entry that ends before the range at `index` begins."""
        end = self.slot(index)[0]
        return next((found for found in reversed(self.ranges) if limit <= found[1] < end), None)

    def gaps(self) -> list[tuple[int, int]]:
        found = []
        begin = 0
        for first, last, _ in self.ranges:
            if begin < first:
                found.append((begin, first - 1))
            begin = last + 1
        if begin <= MAX:
            found.append((begin, MAX))
        return found

    def lowest_fit(self, low: int, high: int, size: int) -> int | None:
        fits = (max(a, low) for a, b in self.gaps() if min(b, high) - max(a, low) + 1 >= size)
        return next(fits, None)

    def highest_fit(self, low: int, high: int, size: int) -> int | None:
        fits = (
            min(b, high) - size + 1
            for a, b in reversed(self.gaps())
            if min(b, high) - max(a, low) + 1 >= size
        )
        return next(fits, None)
