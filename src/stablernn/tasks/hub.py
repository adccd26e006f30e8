"""What is fetched from a network: the data-set hub, and single files. Asked once and within bounded time."""

import os
import socket
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

from stablernn.tasks.splits import SPLITS
from stablernn.utils.console import log
from stablernn.utils.errors import MissingDataError
from stablernn.utils.files import replacing

_PROBE_SECONDS = 2.0
_HUB_SPLITS = dict(zip(SPLITS, ("train", "validation", "test"), strict=True))


def cache_root() -> Path:
    """Folder of encoded corpora and fetched files: ``STABLERNN_CACHE``, else ``~/.cache/stablernn``."""
    return Path(os.environ.get("STABLERNN_CACHE") or "~/.cache/stablernn").expanduser()


def address() -> str:
    """The address of the hub, which a mirror may have in its place (``HF_ENDPOINT``)."""
    from huggingface_hub.constants import ENDPOINT

    return ENDPOINT


@cache
def reachable(url: str) -> bool:
    """Whether its host accepts a connection within two seconds, name look-up included. Asked once a process."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    parts = urlparse(url)
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


def download(name: str, url: str, sha256: str, target: Path) -> None:
    """Fetch a file once; it is there whole, with the checksum, or not at all.

    Raises:
        MissingDataError: the host does not answer, or what it sends is another file.
    """
    from torch.hub import download_url_to_file

    log.info(f"{name}: fetching {url}")
    with replacing(target) as part:
        try:
            download_url_to_file(url, str(part), hash_prefix=sha256, progress=False)
        except (OSError, RuntimeError) as error:
            raise MissingDataError(f"{name}: {url} could not be fetched ({error})") from None


def text_lines(name: str, repository: str, configuration: str | None) -> dict[str, Iterator[str]]:
    """The ``text`` column of a data set, one row a line, by split.

    Without a network only a copy that ``datasets`` downloaded earlier is looked for.

    Raises:
        MissingDataError: neither can be had; the message says what to do.
    """
    online = reachable(address())
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
