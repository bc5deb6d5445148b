"""Files of ours: what is read is small and regular, what is written appears whole.

Whoever names a file may have got it from somebody else. A device or a FIFO never ends, or never begins, so only
regular files are read, and no more of them than `LARGEST`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from sugarbush.lockdep.outside.errors import SugarbushError

LARGEST = 16 * 1024 * 1024
"""Bytes that are read of a file."""
_LONGEST = 200
"""Characters of a value, and of what a library says of it, that an error repeats."""
_SCHEMA_WORDS = {
    "object": "a table",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


class UnusableFile(SugarbushError):
    """A file cannot be read, or is not what it should be; the message says why."""


def read_text(path: Path, most: int = LARGEST) -> str:
    """The text of a regular file of at most `most` bytes, UTF-8 with or without a mark; raises `UnusableFile`."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableFile(f"{path} is not text in UTF-8: byte {error.start} is none of it") from None


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """What is in a regular file of at most `most` bytes; raises `UnusableFile`."""
    try:
        # Looked at before it is opened: to open some devices does something (a tape is wound back).
        _check_regular(path, os.stat(path).st_mode)
        # Without O_NONBLOCK a FIFO that takes the file's place between the two calls would wait for a writer.
        file = os.open(path, os.O_RDONLY | _flag("O_NONBLOCK") | _flag("O_NOCTTY") | _flag("O_BINARY"))
        with open(file, "rb") as stream:
            _check_regular(path, os.fstat(file).st_mode)
            # The size that a file says it has is not asked: those in /proc say 0.
            data = stream.read(most + 1)
    except (OSError, ValueError) as error:
        raise UnusableFile(f"{path} cannot be read: {reason(error)}") from None
    if data is None:
        raise UnusableFile(f"{path} cannot be read: nothing is there yet, and it would be waited for")
    if len(data) > most:
        raise UnusableFile(f"{path} is larger than {most >> 20} MiB, which is more than is read")
    return data


def _flag(name: str) -> int:
    """A flag of open(2), where the system has it."""
    return int(getattr(os, name, 0))


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UnusableFile(f"{path} cannot be read: it is a directory")
    if not stat.S_ISREG(mode):
        raise UnusableFile(f"{path} cannot be read: it is no regular file; save what it gives to one first")


def reason(error: Exception) -> str:
    """Why the system refused something, in its own words; without the path, which the caller has said."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file; `what` says what the file should be. Raises `UnusableFile`.

    JSON has no NaN and no Infinity, and no key twice: Python's reader takes all of them, in silence.
    """
    return parse_json(read_text(path), f"{path} is not {what}")


def parse_json(text: str, complaint: str) -> dict[str, Any]:
    """As `read_json`, of a text; `complaint` begins each error."""
    try:
        data = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_without_repetition
        )
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else _shortened(str(error))
        raise UnusableFile(f"{complaint}: it is not JSON ({why})") from None
    if not isinstance(data, dict):
        raise UnusableFile(f"{complaint}: it is {_kind(data)}, not a table")
    return data


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{_shortened(text)} is larger than any number")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{shown(twice)} stands in it twice")
    return table


def check_schema(data: dict[str, Any], package: str, schema: str, where: str) -> None:
    """Compare with a JSON Schema that comes with `package`; raises `UnusableFile` with the first thing that differs."""
    # Imported here: it takes a tenth of a second, and most commands read no file.
    from importlib import resources

    import jsonschema

    known = json.loads((resources.files(package) / schema).read_text(encoding="utf-8"))
    draft = jsonschema.Draft202012Validator
    # JSON Schema takes 1.0 for an integer; a schedule or a seed of that would fail somewhere else, later.
    checker = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = jsonschema.validators.extend(draft, type_checker=checker)(known)
    # The first error, not the best: to look at all of them takes minutes in a large file that is all wrong.
    error = next(validator.iter_errors(data), None)
    if error is not None:
        raise UnusableFile(f"{where} is broken: {_complaint(error)}")


def _complaint(error: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    place = shown(path.lstrip(".")) if path else "it"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{shown(missing)} is missing" + (f" in {place}" if path else "")
    value = shown(error.instance)
    if error.validator == "type":
        kinds = error.validator_value
        wanted = [_SCHEMA_WORDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)]
        return f"{place} must be {' or '.join(wanted)}, not {value}"
    if error.validator in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        least = error.validator in ("minimum", "exclusiveMinimum")
        return f"{place} must be {'at least' if least else 'at most'} {error.validator_value}, not {value}"
    if error.validator in ("enum", "const"):
        values = error.validator_value if error.validator == "enum" else [error.validator_value]
        return f"{place} must be one of {', '.join(map(str, values))}, not {value}"
    if error.validator in ("maxItems", "minItems", "maxProperties", "maxLength"):
        few = error.validator == "minItems"
        return f"{place} has {len(error.instance)} entries, {'fewer' if few else 'more'} than {error.validator_value}"
    return f"{place} is {value}, which is not allowed there"


def _kind(value: object) -> str:
    return _SCHEMA_WORDS.get(
        {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number"), "?"
    )


def shown(value: object) -> str:
    """A value in an error: short, whatever is in it."""
    try:
        return _shortened(repr(value))
    except (RecursionError, ValueError):
        # Python spells no number of more than 4300 digits.
        return f"a {type(value).__name__}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def check_writable(path: Path, option: str) -> None:
    """Refuse a result file that cannot be written before the work is done; makes its directory.

    Raises `UnusableFile`.
    """
    try:
        target = _target(path)
        if _is_special(target):
            return
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        target.parent.mkdir(parents=True, exist_ok=True)
        file, partial = _partial(target)
        os.close(file)
        partial.unlink()
    except (OSError, ValueError) as error:
        raise UnusableFile(f"{option} {path} cannot be written: {reason(error)}") from None


Identity = tuple[int, int]
"""What tells a file from all others that there are: its device and inode."""


def identity(file: int | Path) -> Identity:
    """Of a file, or an open one; raises OSError."""
    found = os.stat(file)
    return found.st_dev, found.st_ino


def write_text(path: Path, text: str) -> Identity | None:
    """Write a file, whole or not at all: whoever reads it finds what was there before or all of `text`.

    Two that write one file at the same time do not disturb each other, and the last one stays. Once this returns, a
    power cut takes nothing away. Gives the identity of the file if it is new, so that nobody else has written one of
    its name. What is no regular file (``/dev/stdout``) is written to as it is. Raises OSError.
    """
    target = _target(path)
    # A lone surrogate, of the name of a file or of an option, has no UTF-8: a result is not lost for its sake.
    data = text.encode("utf-8", "backslashreplace")
    if _is_special(target):
        _write_into(target, data)
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    file, partial = _partial(target)
    try:
        with open(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            written = identity(stream.fileno())
        is_new = _place(partial, target)
        if not is_new:
            _keep_mode(target, partial)
            os.replace(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync_directory(target.parent)
    return written if is_new else None


def _place(partial: Path, target: Path) -> bool:
    """Give the file its name if nothing has it; whether that was so."""
    try:
        # rename(2) says nothing of what it replaces; link(2) fails where there is something.
        os.link(partial, target)
    except FileExistsError:
        return False
    except (OSError, NotImplementedError, AttributeError):
        # A file system without hard links: what is there is believed to be somebody else's.
        return False
    partial.unlink()
    return True


def _target(path: Path) -> Path:
    """The file that is meant: os.replace would put a file in the place of a link, not of what it leads to."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def _is_special(path: Path) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _partial(target: Path) -> tuple[int, Path]:
    """A new file beside `target`, of a name that no other process uses, since two writers of one file would mix."""
    # Not tempfile.mkstemp: its files are for their owner alone, and results are read by others.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _flag("O_BINARY")
    while True:
        # Within the 255 bytes of a name, whatever `target` has.
        # Imported here: it loads the hash functions, and most commands write no file.
        import secrets

        partial = target.with_name(f".sugarbush-{os.getpid()}-{secrets.token_hex(8)}.part")
        with suppress(FileExistsError):
            return os.open(partial, flags, 0o666), partial


def _keep_mode(target: Path, partial: Path) -> None:
    with suppress(OSError):
        os.chmod(partial, stat.S_IMODE(os.stat(target).st_mode))


def _write_into(path: Path, data: bytes) -> None:
    # With O_NONBLOCK a FIFO that nobody reads is an error, not a wait for ever.
    file = os.open(path, os.O_WRONLY | _flag("O_NONBLOCK") | _flag("O_NOCTTY"))
    if hasattr(os, "set_blocking"):
        os.set_blocking(file, True)
    with open(file, "wb") as stream:
        stream.write(data)


def _sync_directory(folder: Path) -> None:
    """The name of a file is data of its directory."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    # Some file systems cannot; then the name is as safe as they make it.
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def save_text(path: Path, text: str) -> None:
    """As `write_text`, for a file that somebody asked for; raises `UnusableFile`."""
    try:
        write_text(path, text)
    except (OSError, ValueError) as error:
        raise UnusableFile(f"{path} cannot be written: {reason(error)}") from None
