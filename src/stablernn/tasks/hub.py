"""The data-set hub, asked once and within bounded time."""

import os
import socket
import threading
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlparse

from stablernn.tasks.splits import SPLITS
from stablernn.utils.errors import MissingDataError

_PROBE_SECONDS = 2.0
_HUB_SPLITS = dict(zip(SPLITS, ("train", "validation", "test"), strict=True))


def address() -> str:
    """The address of the hub, which a mirror may have in its place (``HF_ENDPOINT``)."""
    from huggingface_hub.constants import ENDPOINT

    return ENDPOINT


@cache
def reachable() -> bool:
    """Whether the hub accepts a connection within two seconds, name look-up included. Asked once a process."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    parts = urlparse(address())
    answered = threading.Event()

    def connect() -> None:
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            with socket.create_connection((parts.hostname or "", port), timeout=_PROBE_SECONDS):
                answered.set()
        except OSError:
            pass

    # A look-up cannot be given a time limit, so it gets a thread that may be left behind.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return answered.is_set()


def text_lines(name: str, repository: str, configuration: str | None) -> dict[str, Iterator[str]]:
    """The ``text`` column of a data set, one row a line, by split.

    Without a network only a copy that ``datasets`` downloaded earlier is looked for.

    Raises:
        MissingDataError: neither can be had; the message says what to do.
    """
    online = reachable()
    if not online:
        # The library retries for half a minute before it gives up; offline it answers at once.
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_DATASETS_OFFLINE"] = "1"
    from datasets import config, load_dataset

    if not online:
        config.HF_HUB_OFFLINE = True  # read from the environment when first imported, which may be long ago
    try:
        rows = load_dataset(repository, configuration)
    except Exception as error:
        why = "the hub does not answer" if not online else f"the hub refused ({str(error).splitlines()[0]})"
        raise MissingDataError(
            f"{name}: {why} and no local copy is named",
            "set dataset.path (or STABLERNN_DATA) to a folder with its token files, connect to a network, or choose "
            "dataset=embedded (ships with the project)",
        ) from None
    return {split: iter(rows[_HUB_SPLITS[split]]["text"]) for split in SPLITS}
