"""The page over HTTP for this machine alone, for browsers that open no files (and through an SSH tunnel)."""

import re
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from stablernn.report.drawing import PAGE
from stablernn.utils.console import console
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.names import is_name

_PORTS = 20  # tried from the first one up; after that any free one
_BESIDE = {"tables": (".csv", ".tex", ".md"), "figures": (".svg", ".png")}  # what the page links to
_HERE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")  # any port: that of a tunnel is another


class _Handler(SimpleHTTPRequestHandler):
    """Serves what a report writes and nothing else: no other file, no list of files, nothing behind a link.

    A page of another site can have its name resolve to this machine and then read what it gets from here: only requests
    that name this machine itself are answered.
    """

    def __init__(self, *arguments: Any, page: str, **options: Any) -> None:
        self.page = page
        super().__init__(*arguments, **options)

    def send_head(self):
        if not _HERE.fullmatch(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN, "this server answers to localhost alone")
            return None
        path = unquote(urlsplit(self.path).path)
        if path == "/":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", f"/{quote(self.page)}/{PAGE}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if not self._is_served(path):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _is_served(self, path: str) -> bool:
        _, folder, name = path.split("/") if path.count("/") == 2 else ("", "", "")
        kinds = (".html",) if folder == self.page else _BESIDE.get(folder, ())
        if not is_name(name) or not name.endswith(kinds):
            return False
        root = Path(self.directory).resolve()
        file = root / folder / name
        return file.is_file() and file.resolve() == file

    def log_message(self, format: str, *args: object) -> None:
        pass


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a report on 127.0.0.1, at ``port`` or the next one that is free.

    Args:
        folder: of the page; the files that it links to are in ``tables`` and ``figures`` beside it.
        port: of the address.

    Raises:
        ConfigurationError: the port is none.
    """
    if not 0 <= port < 2**16:
        raise ConfigurationError(f"port={port} must lie in [0, 65536)")
    handler = partial(_Handler, directory=str(folder.absolute().parent), page=folder.absolute().name)
    for candidate in range(port, min(port + _PORTS, 2**16)):
        try:
            return ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError:  # taken, or not ours to take
            continue
    return ThreadingHTTPServer(("127.0.0.1", 0), handler)


def serve(folder: Path, port: int) -> None:
    """Serve the page of a folder until Ctrl-C; the address is printed."""
    with make_server(folder, port) as server:
        console.print(
            f"the page: http://127.0.0.1:{server.server_port}/ (on this machine alone; Ctrl-C ends)",
            soft_wrap=True,
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("ended")
