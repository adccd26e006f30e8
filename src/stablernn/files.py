"""Files that are whole or absent, and what tells a damaged one: all that a later run trusts is written through here."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stablernn.errors import StorageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to disk and takes the name ``path``.

    A process that is killed at any moment leaves either the old file or the new one, never a part.

    Raises:
        StorageError: it cannot be written; the old file is as it was.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Any OSError inside becomes a StorageError that names ``path``, the reason and the remedy."""
    try:
        yield
    except OSError as error:
        raise StorageError(refusal(path, error)) from error


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def refuses(error: OSError) -> bool:
    """Whether it is the disk that is full or a folder that does not allow it, and no mistake of the program."""
    return error.errno in (*_FULL, *_FORBIDDEN, errno.ENAMETOOLONG)


def refusal(path: Path | str, error: OSError) -> str:
    """Why ``path`` cannot be written, and what to do."""
    if error.errno == errno.ENAMETOOLONG:
        shown, length = f"{str(path)[:40]}...", len(str(path))
        return f"{shown} has {length:,} characters, more than the system allows in a path: choose a shorter one"
    remedy = "free some space" if error.errno in _FULL else "mend that, or choose another folder"
    return f"{path} cannot be written ({error.strerror or error}): {remedy}, and the same command goes on"


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; on success it takes the place of ``path``.

    A process that is killed leaves the old folder or the new one whole, or for a moment neither under this name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".unfinished"))
    try:
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        if path.exists():
            path.replace(old)
        new.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half written below ``folder``; nobody else may be writing there."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON that a person can read and that ``git diff`` can compare."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError whatever is wrong with it, nesting without end included."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_digest(value: Any) -> str:
    """SHA-256 of what ``value`` is as JSON: the same for every layout of the text and order of the keys."""
    plain = json.loads(json.dumps(value))  # a key 1 becomes "1", as it is when read back
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
