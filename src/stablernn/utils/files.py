"""Files that are whole or absent, and what tells a damaged one: all that a later run trusts is written through here."""

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stablernn.utils.errors import DamagedFileError, StorageError

CHECKSUM = "checksum"
_DEEPEST = 32  # levels of mappings and lists: no file of ours has half as many
NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_LARGEST = 2**64  # whole numbers beyond it are no count, no seed and no size


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to disk and takes the name ``path``.

    A process that is killed at any moment leaves either the old file or the new one, never a part.

    Raises:
        StorageError: it cannot be written; the old file is as it was.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # less what the umask takes away
        mode = temporary.stat().st_mode
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(mode)  # some libraries write a file of their own under this name
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
    return f"{path} cannot be written ({error.strerror or error}): {remedy}, and run the same command again"


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


def copy_file(source: Path, target: Path) -> None:
    """Copy a file whole or not at all; a link at ``target`` is replaced, and none at ``source`` is followed.

    Raises:
        OSError: ``source`` cannot be read, or is a link.
        StorageError: ``target`` cannot be written.
    """
    content = read_bytes(source)
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write ``values`` under a checksum, as JSON that a person can read and that ``git diff`` can compare."""
    write_sealed(path, values, json_digest(values))


def write_sealed(path: Path, values: Mapping[str, Any], seal: Any) -> None:
    """``write_json`` with a checksum that the caller computes."""
    text = json.dumps({**values, CHECKSUM: seal}, indent=2, sort_keys=True, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: Path, check: Callable[[dict[str, Any]], object] = lambda values: None) -> dict[str, Any]:
    """What ``write_json`` was given.

    Args:
        path: of the file.
        check: raises ValueError where the values are not what such a file holds.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is not as it was written, not what it must be, or a link.
    """
    try:
        values, seal = read_sealed(path)
        if seal != json_digest(values):
            raise ValueError("its checksum does not fit")
        check(values)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error})") from None
    return values


def read_sealed(path: Path) -> tuple[dict[str, Any], Any]:
    """The mapping in a file without its checksum, and the checksum.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no such mapping, or no checksum.
    """
    values = parse_json(read_bytes(path))
    if not isinstance(values, dict):
        raise ValueError("it holds no mapping")
    if CHECKSUM not in values:
        raise ValueError("it has no checksum")
    return values, values.pop(CHECKSUM)


def read_bytes(path: Path) -> bytes:
    """A file's content. Raises OSError, also for a link: it may lead anywhere."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | NO_LINKS)
    with open(file, "rb") as opened:
        return opened.read()


def open_lock(path: Path) -> int:
    """A descriptor of a file that is made if it is not there. Raises OSError, also for a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | NO_LINKS, 0o666)


def refuse_links(folder: Path) -> None:
    """Refuse a folder that is a link, or holds one: what is written or copied there could land anywhere.

    Raises:
        StorageError: names the link.
    """
    for path in (folder, *sorted(folder.rglob("*"))):
        if path.is_symlink():
            raise StorageError(f"{path} is a link, and links in a folder of runs are not followed: remove it")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError whatever is wrong with it, endless nesting or numbers included."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start:,} is no text") from None
    except json.JSONDecodeError as error:
        if not text.strip():
            raise ValueError("it is empty") from None
        where = "it ends too early" if error.pos >= len(text.rstrip()) else f"line {error.lineno} is no JSON"
        raise ValueError(where) from None
    layer, depth = [value], 0
    while layer:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if any(type(entry) is int and abs(entry) >= _LARGEST for entry in layer):
            raise ValueError("a number is too large")
        for entry in layer:
            if isinstance(entry, str):
                entry.encode()  # half of a surrogate pair could not be written again
        inner = [entry for entry in layer if isinstance(entry, dict | list)]
        layer = [one for entry in inner for one in ((*entry, *entry.values()) if isinstance(entry, dict) else entry)]
        depth += 1
    return value


def json_digest(value: Any) -> str:
    """SHA-256 of what ``value`` is as JSON: the same for every layout of the text and order of the keys."""
    plain = json.loads(json.dumps(value))  # a key 1 becomes "1", as it is when read back
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_state(path: Path) -> tuple[int, ...]:
    """What changes when a file is written."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
