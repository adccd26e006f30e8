"""What the scripts share: Hydra's entry point, with errors that a person can act on."""

import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stablernn import config as schema
from stablernn.console import configure_logging, console, log
from stablernn.errors import ConfigurationError, StableRNNError

CONFIG_FOLDER = Path(__file__).parents[2] / "conf"


def main(task: Callable[[DictConfig], object], config_name: str) -> None:
    """Compose ``config_name`` from the command line and run ``task`` on it, once or (-m) for a sweep.

    Exit code 2 for anything that the user can mend, 130 after Ctrl-C, 1 for a bug. In a sweep a run that
    fails says so when it fails, and the others go on.
    """
    # Hydra prints its own digest of an exception and exits with 1; this makes it hand the exception on.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    schema.register()
    configure_logging()

    def job(config: DictConfig) -> None:
        configure_logging()
        try:
            task(config)
        except StableRNNError as error:
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                # The sweep is over before Hydra hands the error on, so it is told here.
                log.error(f"failed: {' '.join(HydraConfig.get().overrides.task)}: {error}")
                raise
            _refuse(str(error))

    try:
        hydra.main(config_path=str(CONFIG_FOLDER), config_name=config_name, version_base="1.3")(job)()
    except StableRNNError:
        _refuse("some runs of the sweep failed (see above); the others are recorded. The same command runs what is left")
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(explain(error, config_name))
    except KeyboardInterrupt:
        console.print("interrupted; the same command resumes", highlight=False)
        sys.exit(130)


def _refuse(message: str) -> None:
    console.print(f"[red]error:[/] {_escape(message)}", soft_wrap=True, highlight=False)
    sys.exit(2)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def explain(error: Exception, config_name: str) -> str:
    """One line for what Hydra and OmegaConf say in several."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            group, _, choice = str(cause.missing_cfg_file).rpartition("/")
            options = sorted(cause.options or [])
            return f"{group}={choice} does not exist: choose {group}={'|'.join(options)}{_nearest(choice, options)}"
        if isinstance(cause, StableRNNError):
            return str(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    text = str(error)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        name = unknown.group(1)
        return f"{name} is not an option{_nearest(name, _options(config_name))}; --help lists the options"
    merged = re.search(r"Error merging override (\S+)", text)
    if merged and error.__cause__ is not None:
        return f"{merged.group(1)}: {str(error.__cause__).splitlines()[0]}"
    if isinstance(error, OverrideParseException):
        return f"cannot read the override {error.override!r}: write option=value"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _nearest(name: str, candidates: list[str]) -> str:
    near = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _options(config_name: str) -> list[str]:
    """Every option of a configuration at its defaults, as dotted names."""
    config = compose(config_name, [])

    def walk(node: object, path: str) -> list[str]:
        if isinstance(node, dict):
            return [name for key, value in node.items() for name in walk(value, f"{path}.{key}" if path else str(key))]
        return [path]

    return walk(OmegaConf.to_container(config, resolve=False), "")


def compose(config_name: str, overrides: list[str]) -> DictConfig:
    """A configuration as the command line would compose it.

    Raises:
        ConfigurationError: the overrides do not fit.
    """
    from hydra.core.global_hydra import GlobalHydra

    schema.register()
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            return hydra.compose(config_name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(explain(error, config_name)) from None
