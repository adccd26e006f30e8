"""Weights & Biases, or nothing: what dashboards see. Reports never read it."""

import os
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

from stablernn.utils.console import log
from stablernn.utils.errors import ConfigurationError

_beginning = threading.Lock()  # runs may be threads, and each beginning sets up what all of them share


class Run(Protocol):
    """What training tells a tracker; ``values`` hold the number of the update, ``update``."""

    def log(self, values: dict[str, float]) -> None: ...

    def summary(self, values: dict[str, Any]) -> None: ...


def has_account() -> bool:
    """Whether Weights & Biases finds a key here; asks neither the network nor the user."""
    import wandb
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth  # wandb.Api() would ask the server whether the key is good

    settings = wandb.setup().settings
    if os.environ.get("WANDB_API_KEY") or settings.api_key or settings.identity_token_file:
        return True
    try:
        return bool(wbauth.read_netrc_auth(host=settings.base_url))
    except AuthenticationError:  # something else stands in its place
        return False


def _keep_out_of_an_unwritable_home(folder: Path) -> None:
    """W&B keeps caches, settings and its own log in HOME; where it cannot, it prints that log to the terminal."""
    try:
        home = Path.home()
        writable = os.access(home, os.W_OK)
    except RuntimeError:  # there is none
        writable = False
    if not writable:
        for name in ("CACHE", "CONFIG", "DATA"):
            place = folder.absolute() / "wandb" / ".home" / name.lower()
            with suppress(OSError):
                place.mkdir(parents=True, exist_ok=True)
            os.environ.setdefault(f"WANDB_{name}_DIR", str(place))


class SilentRun:
    def log(self, values: dict[str, float]) -> None:
        pass

    def summary(self, values: dict[str, Any]) -> None:
        pass


class NoTracking:
    """Tells nobody."""

    def check(self) -> None:
        pass

    def run(
        self, run_id: str, group: str, tags: list[str], config: dict[str, Any], folder: str
    ) -> AbstractContextManager[Run]:
        return nullcontext(SilentRun())


class WandbTracking:
    """Weights & Biases."""

    def __init__(self, mode: str, project: str, entity: str | None = None) -> None:
        if mode not in ("online", "offline"):
            raise ConfigurationError(f"tracking.mode={mode} is unknown: choose tracking=online, offline or none")
        self.mode, self.project, self.entity = mode, project, entity

    def check(self) -> None:
        """Raises ConfigurationError if ``online`` would stop and ask for an account."""
        if self.mode == "offline":
            return
        try:
            known = has_account()
        except ImportError:
            raise ConfigurationError(
                "tracking=online needs the package wandb: pip install wandb, or choose tracking=none"
            ) from None
        if not known:
            raise ConfigurationError(
                "tracking=online needs an account: run `wandb login` or set WANDB_API_KEY, or choose tracking=offline"
            )

    def run(
        self, run_id: str, group: str, tags: list[str], config: dict[str, Any], folder: str
    ) -> AbstractContextManager[Run]:
        _keep_out_of_an_unwritable_home(Path(folder))
        try:
            import wandb
        except ImportError:
            log.warning("The package wandb is not installed: this run is not tracked (tracking=none says so at once)")
            return nullcontext(SilentRun())
        return _WandbRun(
            wandb,
            {
                "mode": self.mode,
                "project": self.project,
                "entity": self.entity,
                "id": run_id,
                "name": run_id,
                "resume": "allow",
                "group": group,
                "tags": tags,
                "config": config,
                "dir": folder,
                "settings": wandb.Settings(silent=True, console="off", reinit="create_new"),  # several at once
            },
        )


class _WandbRun(AbstractContextManager[Run]):
    def __init__(self, wandb: Any, options: dict[str, Any]) -> None:
        self._wandb = wandb
        self._options = options

    def __enter__(self) -> Run:
        with _beginning:
            self._run = self._wandb.init(**self._options)
        self._run.define_metric("update", hidden=True)
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("train/*", step_metric="update")
        self._run.define_metric("valid/*", step_metric="epoch")
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._run.finish(exit_code=0 if kind is None else 1)

    def log(self, values: dict[str, float]) -> None:
        # A run that is resumed writes a log of its own: counted from 0, its rows would take the places of earlier ones.
        self._run.log(values, step=int(values["update"]))

    def summary(self, values: dict[str, Any]) -> None:
        self._run.summary.update(values)
