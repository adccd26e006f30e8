"""What the scripts share: Hydra's entry point, with errors that a person can act on."""

import os
import re
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from stablernn.config import schema
from stablernn.config.compose import explain, frozen, literal, locate, nearest, option_names
from stablernn.config.options import OPTIONS
from stablernn.config.targets import allow
from stablernn.config.validate import check_known
from stablernn.utils.console import configure_logging, console, log, print_error, refuse
from stablernn.utils.errors import (
    ConfigurationError,
    RunInUseError,
    StableRNNError,
    StorageError,
    SweepError,
    too_little_memory,
)
from stablernn.utils.files import refusal, refuses
from stablernn.utils.machine import keep_freed_memory


class _Bug(Exception):
    """A run of a sweep failed by a mistake of the program, and its traceback was printed."""


def main(
    task: Callable[[DictConfig], object],
    config_name: str,
    text: Sequence[str] = (),
    flags: Collection[str] = (),
    interrupted: str = "the same command begins again",
    first: str = "",
) -> None:
    """Compose ``config_name`` from the command line and run ``task`` on it, once or (-m) for a sweep.

    The values of the options ``text`` are taken as they are: Hydra's grammar (commas, brackets) does not apply. The
    options ``flags`` may be written ``--option value`` too. After Ctrl-C ``interrupted`` is said. The option ``first``
    may be given once.

    Exit code 2 for anything that the user can mend, 130 after Ctrl-C or SIGTERM, 1 for a bug. In a sweep a run that
    fails says so at once, and the others continue; one that another process is at work on is waited for at the end.
    """
    parser = get_args_parser()
    parser.error = partial(_refuse_flag, parser, config_name, flags)  # type: ignore[method-assign]
    given = _sorted_out(sys.argv[1:], parser)
    named = [argument for argument in given.overrides if first and argument.startswith(f"{first}=")]
    if len(named) > 1:  # of several Hydra would take the last and say nothing
        refuse(f"{first} is given {len(named)} times ({' '.join(named):.120}): give one")
    if given.experimental_rerun is not None:
        refuse("--experimental-rerun executes what is in the file that it is given: give the overrides instead")
    # Hydra prints its own digest of an exception and exits with 1; this makes it hand the exception on.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    schema.register()
    configure_logging()
    keep_freed_memory()

    started: list[DictConfig] = []

    def job(config: DictConfig) -> str | None:
        started.append(config)
        configure_logging()
        if HydraConfig.get().mode is RunMode.MULTIRUN and config_name == "train":
            from stablernn.experiments.sweep import share_machine

            share_machine(config, HydraConfig.get().launcher)
        try:
            if config_name in OPTIONS:
                check_known(config, OPTIONS[config_name])
            return getattr(task(config), "status", "done")
        except Exception as error:
            message = _message(error)
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                # The sweep is over before Hydra hands the error on, so it is logged here.
                if isinstance(error, RunInUseError):
                    log.warning(f"left for the end: {message}")
                    raise
                overrides = " ".join(HydraConfig.get().overrides.task)
                log.error(f"failed: {overrides}: {message or repr(error)}", exc_info=None if message else error)
                raise (StableRNNError(message) if message else _Bug(repr(error))) from None
            if message is None:
                raise
            refuse(message)

    sys.argv[1:] = [literal(argument, text) for argument in sys.argv[1:]]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        try:
            with _frozen(config_name, given.config_dir and Path(given.config_dir).expanduser()):
                folder, name = locate(config_name)
                hydra.main(config_path=str(folder), config_name=name, version_base="1.3")(job)()
        finally:
            sys.stdout.flush()  # now, and not when the interpreter ends and nobody answers for a broken pipe
    except (SweepError, StorageError, ConfigurationError) as error:
        refuse(str(error))
    except StableRNNError:
        refuse(SweepError.SOME_FAILED)
    except _Bug:
        print_error("a mistake in the program ended some runs of the sweep (see above)")
        sys.exit(1)
    except BrokenPipeError:  # as with `--help | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        message = _message(error)
        if started and message is None:  # Hydra composes before the first run starts
            raise
        refuse(message or _of_swept_choices(error, given.overrides) or explain(error, config_name))
    except KeyboardInterrupt:
        console.print(f"interrupted; {interrupted}", soft_wrap=True)
        sys.exit(130)


def _sorted_out(arguments: Sequence[str], parser: ArgumentParser) -> Namespace:
    """The flags of the command line, which is left in the order that Hydra's parser asks for: flags, then overrides.

    ``allow=package`` is said to this process alone, and ``--config-dir`` is in the frozen configuration already: its
    groups have the names of options of `make reproduce`.
    """
    known = parser.parse_intermixed_args(arguments)
    flags = [each for each in arguments if each not in known.overrides]
    for at, flag in reversed(list(enumerate(flags))):
        if flag.partition("=")[0] in ("--config-dir", "-cd"):
            del flags[at : at + 1 + ("=" not in flag)]
    for packages in [each.removeprefix("allow=") for each in known.overrides if each.startswith("allow=")]:
        try:
            allow(*packages.split(","))
        except ConfigurationError as error:
            refuse(str(error))
    sys.argv[1:] = [*flags, *(each for each in known.overrides if not each.startswith("allow="))]
    return known


def _refuse_flag(parser: ArgumentParser, config_name: str, flags: Collection[str], message: str) -> NoReturn:
    """One line for what argparse says of a flag, with the flag or the option that may be meant."""
    unknown = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
    if unknown == message.split()[0]:
        refuse(message)
    name = unknown.lstrip("-").replace("-", "_")
    known = [*parser._option_string_actions, *(f"--{flag}" for flag in flags)]
    near = nearest(unknown, known) or nearest(name, option_names(config_name)).replace("?", "=...?")
    refuse(f"{unknown} is not a flag{near}; options are written option=value, and --help lists them")


def _of_swept_choices(error: Exception, overrides: Sequence[str]) -> str:
    """How to give an option to the choices of a group that are swept, where only some of them have it."""
    unknown = re.search(r"Could not override '(\w+)\.([\w.]+)'", str(error))
    if not unknown or not any(each.startswith(f"{unknown[1]}=") and "," in each for each in overrides):
        return ""
    name = f"{unknown[1]}.{unknown[2]}"
    value = next((each.partition("=")[2] for each in overrides if each.startswith(f"{name}=")), "...")
    return (
        f"{name} is no option of every choice of {unknown[1]}: to set it for each that is swept write ++{name}={value}"
    )


def _frozen(config_name: str, own: Path | None) -> AbstractContextManager[None]:
    """A sweep, also one of `make reproduce`, is made of the configuration as it is when it starts."""
    sweeps = config_name == "train" and {"-m", "--multirun"} & set(sys.argv)
    if not sweeps and config_name != "reproduce/plan" and own is None:
        return nullcontext()
    folder = next((each.removeprefix("runs=") for each in reversed(sys.argv) if each.startswith("runs=")), "runs")
    plain = folder.strip("\"'")
    # The nodes of a cluster compose their runs themselves, and see no other folder that all of them share.
    return frozen(Path(plain).expanduser() / ".sweep" if sweeps and plain and "$" not in plain else None, own)


def _message(error: Exception) -> str | None:
    """What to tell the user; None for a bug."""
    if isinstance(error, OSError) and refuses(error):
        return refusal(error.filename or "a file", error)
    return str(error) if isinstance(error, StableRNNError) else too_little_memory(error)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
