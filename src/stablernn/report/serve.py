"""The page over HTTP for this machine alone, for browsers that open no files (and through an SSH tunnel)."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stablernn.console import console
from stablernn.errors import ConfigurationError

_PORTS = 20  # tried from the first one up; after that any free one


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of one folder on 127.0.0.1, at ``port`` or the next one that is free.

    Raises:
        ConfigurationError: the port is none.
    """
    if not 0 <= port < 2**16:
        raise ConfigurationError(f"port={port} must lie in [0, 65536)")
    handler = partial(_Quiet, directory=str(folder))
    for candidate in range(port, min(port + _PORTS, 2**16)):
        try:
            return ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError:  # taken, or not ours to take
            continue
    return ThreadingHTTPServer(("127.0.0.1", 0), handler)


def serve(folder: Path, port: int) -> None:
    """Serve a folder until Ctrl-C; the address is printed."""
    with make_server(folder, port) as server:
        console.print(
            f"the page: http://127.0.0.1:{server.server_port}/ (on this machine alone; Ctrl-C ends)",
            highlight=False,
            soft_wrap=True,
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("ended", highlight=False)
