"""Files of ours that are JSON with a number: artifacts, states of campaigns, certificates are read alike."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sugarbush.lockdep.outside import UnusableFile, check_schema, read_json, shown
from sugarbush.stress.kit.checks import CHECKS


class FileFormat(NamedTuple):
    """One kind of file: in words, the key whose value is the number of the format, that number, and its schema."""

    what: str
    magic: str
    number: int
    package: str
    schema: str

    def read(self, path: Path) -> dict[str, Any]:
        """What is in a file of this kind, as its schema says; raises `UnusableFile`."""
        data = read_json(path, self.what)
        number = data.get(self.magic)
        # By its type: JSON's true is an int for Python, and 1.0 is equal to one.
        if type(number) is not int:
            raise UnusableFile(f"{path} is not {self.what}: no key {self.magic!r} says its format")
        # Before the schema, of which a newer file may differ anywhere: that it is newer is what its user can act upon.
        if number > self.number:
            raise UnusableFile(
                f"{path} has format {shown(number)}, which is newer than this sugarbush (format {self.number}): "
                "install the one that wrote it"
            )
        check_schema(data, self.package, self.schema, str(path))
        return data


def known_checks(path: Path, without: Iterable[str]) -> frozenset[str]:
    """The checks that a file says were switched off; raises `UnusableFile` if there is no such check."""
    unknown = sorted(set(without) - set(CHECKS))
    if unknown:
        raise UnusableFile(
            f"{path} is broken: 'without' names checks that do not exist, {shown(unknown[0])}; `sugarbush list` "
            "names those that do"
        )
    return frozenset(without)
