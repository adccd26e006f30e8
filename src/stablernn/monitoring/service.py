"""Reaching Weights & Biases without waiting long for it: is there an account, does the server answer, and limits."""

import threading
import urllib.error
import urllib.request
from collections.abc import Callable
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
    try:
        within(seconds, lambda: urllib.request.urlopen(address, timeout=seconds).close())
    except TrackingError as error:
        return isinstance(error.__cause__, urllib.error.HTTPError)
    return True


def within(seconds: float, task: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a task; when the time is up it is left behind in its thread, which ends with this process.

    Raises:
        TrackingError: the time was up, or the task failed.
    """
    results: list[Any] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(task(*arguments))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise TrackingError(f"{type(errors[0]).__name__}: {errors[0]}") from errors[0]
    if not results:
        limit = counted(f"{seconds:g}", "second")
        raise TrackingError(f"not done within {limit}: try again, or give more with seconds=...")
    return results[0]
