"""One process at a time on a run's folder, and who it is.

The lock is ``flock`` on ``<folder>/.lock``: the kernel drops it when its process ends, however it ends. The file stays;
it counts only while the lock is held. Across the nodes of a cluster it holds where the file system carries locks to its
server (NFSv4, NFSv3 with lockd, Lustre mounted with ``flock``). Where there are no locks at all a run says so and goes
on unguarded: its files are still whole, but two processes may do the same work.
"""

import errno
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stablernn.utils.console import log
from stablernn.utils.errors import RunInUseError
from stablernn.utils.files import NO_LINKS, open_lock, parse_json, read_bytes, writing
from stablernn.utils.wording import counted

try:
    import fcntl
except ImportError:  # no such thing on this system: as on a file system without locks
    fcntl = None

LOCK_FILE = ".lock"
_PATIENCE_SECONDS = 1.0  # whoever merely reads (``holder``) is in the way for some microseconds
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep ``folder``, which must exist, to this process inside the context.

    Raises:
        RunInUseError: another process has it; says which.
        StorageError: the lock file cannot be written.
    """
    with writing(folder / LOCK_FILE):
        file = open_lock(folder / LOCK_FILE)
    try:
        if not _lock(file, folder):
            raise RunInUseError(
                f"{folder.name} is in use by {_name(folder)}: leave it to that process, or stop it and start again",
                folder,
            )
        with writing(folder / LOCK_FILE):
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        yield
    finally:
        os.close(file)


def wait_until_free(folders: Sequence[Path], least: float) -> None:
    """Return when no other process is at work in any of the folders, but not before ``least`` seconds; says so."""
    log.info(
        f"waiting for {counted(len(folders), 'run')} that other processes train: "
        f"{', '.join(folder.name for folder in folders)}. Ctrl-C ends this process and leaves theirs alone"
    )
    time.sleep(least)  # where locks do not reach this machine, nobody seems to be at work
    while any(map(holder, folders)):
        time.sleep(_PATIENCE_SECONDS)


def holder(folder: Path) -> str | None:
    """The process that is at work in ``folder``, as ``process 4711 on host``; None: nobody is.

    Only reads: writes nothing, and needs no more than to read the folder.
    """
    try:
        file = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC | NO_LINKS)
    except OSError:
        return None
    try:
        return _name(folder) if _try(file, fcntl.LOCK_SH if fcntl else 0) is False else None
    finally:
        os.close(file)


def _lock(file: int, folder: Path) -> bool:
    """Whether the lock could be had; True with a warning where there are no locks."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        got = _try(file, fcntl.LOCK_EX if fcntl else 0)
        if got is None:
            log.warning(f"{folder} is on a file system without locks: start no second process on this run")
        if got is not False:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def _try(file: int, kind: int) -> bool | None:
    """Whether the lock was free (and is now had); None: there are no locks here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _name(folder: Path) -> str:
    try:
        owner = parse_json(read_bytes(folder / LOCK_FILE))
        return f"process {int(owner['pid'])} on {owner['host']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"
