"""Reaching Weights & Biases without waiting long for it: is there an account, does the server answer, and limits."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from stablernn.training.tracking import has_account
from stablernn.utils.errors import ConfigurationError, TrackingError
from stablernn.utils.wording import counted

_PROBE_SECONDS = 2.0


def check_service(what: str) -> None:
    """Refuse at once what would ask for a key or wait for a network that is not there.

    Args:
        what: the option or command that needs the service.

    Raises:
        ConfigurationError: wandb is not installed, or has no key.
        TrackingError: the server does not answer within 2 seconds.
    """
    try:
        import wandb
    except ImportError:
        raise ConfigurationError(f"{what} needs the package wandb: pip install wandb") from None
    if not has_account():
        raise ConfigurationError(f"{what} needs a W&B account: run `wandb login` or set WANDB_API_KEY")
    address = wandb.setup().settings.base_url
    if not answers(address, _PROBE_SECONDS):
        raise TrackingError(f"{address} does not answer: {what} needs the network; nothing was sent")


def answers(address: str, seconds: float) -> bool:
    """Whether a web server answers within so many seconds, with whatever it has to say; proxies are used as set."""
    reached = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(address, timeout=seconds).close()
            reached.set()
        except urllib.error.HTTPError:
            reached.set()
        except (OSError, ValueError):
            pass

    # Looking a name up obeys no time limit of its own, so the question is left behind in its thread.
    asked = threading.Thread(target=ask, daemon=True)
    asked.start()
    asked.join(seconds)
    return reached.is_set()


def run_limited(command: Sequence[str], seconds: float) -> tuple[int | None, str]:
    """Run a command that may not ask anything, and end it with all that it started when the time is up.

    Returns:
        The exit code, None if the time was up; and what it printed.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        _end(process)
        return None, process.communicate()[0]
    except BaseException:  # Ctrl-C does not reach the other session by itself
        _end(process)
        process.wait()
        raise


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def within(seconds: float, task: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a task in a process of its own, which is ended when the time is up.

    Raises:
        TrackingError: the time was up, or the task failed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, task, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            limit = counted(f"{seconds:g}", "second")
            raise TrackingError(f"not done within {limit}: try again, or give more with seconds=...")
        failed, result = receiver.recv()
    except EOFError:
        raise TrackingError("the process that talked to W&B ended without an answer") from None
    finally:
        process.kill()
        process.join()
    if failed:
        raise TrackingError(result)
    return result


def _answer(sender: Connection, task: Callable[..., Any], arguments: Sequence[Any]) -> None:
    try:
        sender.send((False, task(*arguments)))
    except Exception as error:
        sender.send((True, f"{type(error).__name__}: {error}"))
