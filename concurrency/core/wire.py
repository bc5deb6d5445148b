"""Reports as text: what a worker on another machine sends is data, read by its type and checked, never unpickled.

To unpickle a text is to run whatever its sender wishes. Here nothing is made but numbers, text, containers, and the
dataclasses that a report consists of; `read` follows their annotations, and refuses what does not fit them. Classes
are never named in the text: which class is made is decided by the type that the reader asks for.

>>> to_text({"deadlock": [1, 2]})
'[["deadlock",[1,2]]]'
>>> from_text('[["deadlock",[1,2]]]', dict[str, list[int]])
{'deadlock': [1, 2]}
>>> from_text('[["deadlock",["1"]]]', dict[str, list[int]])
Traceback (most recent call last):
    ...
sugarbush.concurrency.core.wire.NotAReport: where a number should be there is '1'
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections import Counter
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from sugarbush.concurrency.core.failure import ConcurrencyError, Failure, Kind
from sugarbush.concurrency.core.schedule import Schedule

# All numbers of a report are counts, which fit into 64 bits.
_LARGEST = 2**63
_FAILURE = (Kind, str, str, str | None, str, int)
"""What a `Failure` is sent as: kind, headline, detail, check, task and step."""


class NotAReport(ConcurrencyError):
    """What came from a worker is no report."""


def to_text(value: object) -> str:
    """`value`, of classes that `from_text` can make again, as JSON."""
    return json.dumps(_plain(value), separators=(",", ":"))


def _plain(value: Any) -> Any:
    # A StrEnum is a str as well, so it comes first.
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Failure):
        failure = value
        parts = (failure.kind, failure.headline, failure.detail, failure.check, failure.task, failure.step)
        return [_plain(part) for part in parts]
    if isinstance(value, Schedule):
        return str(value)
    if isinstance(value, dict):
        return [[_plain(key), _plain(one)] for key, one in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        # Sets in a fixed order, so that two workers send the same text for the same executions.
        return [
            _plain(one) for one in (sorted(value, key=repr) if isinstance(value, set | frozenset) else value)
        ]
    if dataclasses.is_dataclass(value):
        return [_plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    raise ConcurrencyError(
        f"{value!r} cannot be sent as data: use numbers, text, containers and dataclasses of them"
    )


def from_text(text: object, kind: Any) -> Any:
    """The value of this type that a text of `to_text` stands for; raises `NotAReport`."""
    if not isinstance(text, str):
        raise NotAReport(f"it is a {type(text).__name__}, not text")
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        # Shortened: the message quotes the text, and it is the sender who decides how long that is.
        raise NotAReport(f"it is not JSON ({str(error)[:100]})") from None
    return read(data, kind)


def read(data: Any, kind: Any) -> Any:
    """As `from_text`, of what has been read from JSON already."""
    try:
        return _made(data, kind)
    except RecursionError:
        raise NotAReport("it is nested too deep") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _made(data: Any, kind: Any) -> Any:
    """The value of type `kind` that `data` stands for; raises `NotAReport` where it does not fit."""
    if kind is Any:
        return data
    if kind is None or kind is types.NoneType:
        return _only(data, data is None, "null")
    if kind is bool:
        return _only(data, isinstance(data, bool), "true or false")
    if kind is int:
        # type(), since True is an int to isinstance().
        return _only(data, type(data) is int and -_LARGEST <= data < _LARGEST, "a number")
    if kind is str:
        return _only(data, isinstance(data, str), "a text")
    if kind is Failure:
        return _failure(data)
    if kind is Schedule:
        return Schedule.parse(_made(data, str))
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _first_that_fits(data, inside)
    if isinstance(kind, type) and issubclass(kind, Enum):
        _only(data, data in [one.value for one in kind], f"a {kind.__name__}")
        return kind(data)
    _only(data, isinstance(data, list), "a list")
    if origin is tuple and inside[-1:] != (...,):
        return tuple(_each(data, inside))
    if origin in (list, tuple, set, frozenset):
        return origin([_made(one, inside[0]) for one in data])
    if origin is dict or origin is Counter:
        key, value = inside if origin is dict else (*inside, int)
        return origin(dict(_made(data, list[tuple[key, value]])))  # type: ignore[valid-type]
    return kind(*_each(data, _fields(kind)))


def _each(data: list[Any], kinds: tuple[Any, ...]) -> list[Any]:
    _only(data, len(data) == len(kinds), f"a list of {len(kinds)}")
    return [_made(one, kind) for one, kind in zip(data, kinds, strict=True)]


@cache
def _fields(kind: Any) -> tuple[Any, ...]:
    """The types of the fields of a dataclass or named tuple."""
    hints = get_type_hints(kind)
    names = getattr(kind, "_fields", None) or [field.name for field in dataclasses.fields(kind)]
    return tuple(hints[name] for name in names)


def _first_that_fits(data: Any, kinds: tuple[Any, ...]) -> Any:
    for kind in kinds[:-1]:
        try:
            return _made(data, kind)
        except NotAReport:
            pass
    return _made(data, kinds[-1])


def _failure(data: Any) -> Failure:
    _only(data, isinstance(data, list), "a list")
    kind, headline, detail, check, task, step = _each(data, _FAILURE)
    failure = Failure(kind, headline, detail, check)
    failure.task, failure.step = task, step
    return failure


def _only(data: Any, fits: bool, wanted: str) -> Any:
    if not fits:
        raise NotAReport(f"where {wanted} should be there is {repr(data)[:60]}")
    return data
