"""What the scripts share: Hydra's entry point, with errors that a person can act on."""

import os
import sys
from collections.abc import Callable, Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from stablernn import config as schema
from stablernn.allocator import keep_freed_memory
from stablernn.compose import explain, locate
from stablernn.console import configure_logging, console, log
from stablernn.errors import StableRNNError


def main(task: Callable[[DictConfig], object], config_name: str, text: Sequence[str] = ()) -> None:
    """Compose ``config_name`` from the command line and run ``task`` on it, once or (-m) for a sweep.

    The values of the options ``text`` are taken as they are: Hydra's grammar (commas, brackets) does not apply.

    Exit code 2 for anything that the user can mend, 130 after Ctrl-C, 1 for a bug. In a sweep a run that
    fails says so when it fails, and the others go on.
    """
    # Hydra prints its own digest of an exception and exits with 1; this makes it hand the exception on.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    schema.register()
    configure_logging()
    keep_freed_memory()

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

    sys.argv[1:] = [_quoted(argument, text) for argument in sys.argv[1:]]
    folder, name = locate(config_name)
    if os.environ.get("WORLD_SIZE", "1") != "1" and (config_name != "train" or {"-m", "--multirun"} & set(sys.argv)):
        _refuse("torchrun shares one run among its processes: start scripts/train.py with it, and without -m")
    try:
        hydra.main(config_path=str(folder), config_name=name, version_base="1.3")(job)()
    except StableRNNError:
        _refuse(
            "some runs of the sweep failed (see above); the others are recorded. The same command runs what is left"
        )
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(explain(error, config_name))
    except KeyboardInterrupt:
        console.print("interrupted; the same command resumes", highlight=False)
        sys.exit(130)


def _quoted(argument: str, text: Sequence[str]) -> str:
    name, _, value = argument.partition("=")
    if name not in text or not value or value == "null":
        return argument
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


def _refuse(message: str) -> None:
    console.print(f"[red]error:[/] {_escape(message)}", soft_wrap=True, highlight=False)
    sys.exit(2)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
