"""Every command by its name, for scripts/ and for ``stablernn``."""

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module

from stablernn import __version__
from stablernn.utils.errors import ConfigurationError

# What Ctrl-C leaves of a command.
_RESUMES = "the same command resumes"
_ADDS = "what was finished is stored, and the same command (without fresh=true) computes the rest"
_AGAIN = "the same command begins again"
_WITH_VALUE = ("-c", "--cfg", "-p", "--package", "-cn", "--config-name", "-cp", "--config-path", "-cd", "--config-dir")


@dataclass(frozen=True)
class Command:
    """What ``stablernn NAME`` and scripts/NAME.py start.

    Attributes:
        about: in the list of commands.
        task: module:function.
        config: the name of its configuration.
        text: options whose values are taken as they are.
        first: the option that an argument without ``=`` is the value of.
        flags: whether its options may be written ``--option value`` too.
        interrupted: what is said after Ctrl-C.
    """

    about: str
    task: str
    config: str
    text: tuple[str, ...] = ()
    first: str = ""
    flags: bool = False
    interrupted: str = _AGAIN

    def flag_names(self) -> dict[str, bool]:
        """What may be written ``--option value``, and whether ``--option`` alone turns it on."""
        from stablernn.config.options import OPTIONS

        return {each.name: each.type is bool for each in fields(OPTIONS[self.config])} if self.flags else {}


COMMANDS = {
    "train": Command(
        "train one run, or with -m a sweep of runs", "stablernn.training.run:run", "train", interrupted=_RESUMES
    ),
    "reproduce": Command(
        "reproduce a study: plan, runs, tables, page with the verdicts",
        "stablernn.experiments.reproduce:reproduce",
        "reproduce/plan",
        ("overrides",),
        interrupted=_RESUMES,
    ),
    "report": Command(
        "tables, figures and the page, from the records of runs", "stablernn.commands.report:report", "report"
    ),
    "analyze": Command(
        "look into finished runs: certificate, truncation, contraction, ...",
        "stablernn.commands.analyze:analyze",
        "analyze",
        first="run",
        interrupted=_ADDS,
    ),
    "convert": Command(
        "make a finished run a feed-forward model", "stablernn.commands.convert:convert", "convert", first="run"
    ),
    "examine": Command(
        "examine a trained network of your own: may it be feed-forward?",
        "stablernn.commands.examine:examine",
        "examine",
        first="weights",
        flags=True,
    ),
    "generate": Command(
        "continue words, characters or music with a finished run",
        "stablernn.commands.generate:generate",
        "generate",
        ("prompt",),
        first="run",
    ),
    "status": Command(
        "which runs are done, running or to do, live", "stablernn.monitoring.status:status", "status", ("sweep",)
    ),
    "bench": Command(
        "measure the speed, against plain PyTorch", "stablernn.commands.bench:bench", "bench", interrupted=_ADDS
    ),
    "linear_systems": Command(
        "gradient descent on linear systems, without data",
        "stablernn.commands.linear_systems:linear_systems",
        "linear_systems",
        interrupted=_ADDS,
    ),
    "winners": Command(
        "write the winners of a search again", "stablernn.experiments.winners:winners", "reproduce/winners"
    ),
    "wandb_sync": Command(
        "send runs that were tracked offline to Weights & Biases",
        "stablernn.commands.wandb_sync:wandb_sync",
        "wandb_sync",
        interrupted="the same command sends the runs that are left",
    ),
    "wandb_workspace": Command(
        "panels for the runs at Weights & Biases",
        "stablernn.commands.wandb_workspace:wandb_workspace",
        "wandb_workspace",
    ),
}


def start(name: str) -> None:
    """Run the command ``name`` on the arguments of this process; exit code 130 after Ctrl-C, also while it loads."""
    try:
        _start(name)
    except KeyboardInterrupt:
        print(f"interrupted; {COMMANDS[name].interrupted}", file=sys.stderr)
        sys.exit(130)


def _start(name: str) -> None:
    from stablernn.experiments.command_line import main  # imports torch, which the list of commands does not need
    from stablernn.utils.console import refuse

    command = COMMANDS[name]
    options = command.flag_names()
    try:
        sys.argv[1:] = as_overrides(sys.argv[1:], command.first, options)
    except ConfigurationError as error:
        refuse(str(error))
    module, _, function = command.task.partition(":")
    task = getattr(import_module(module), function)
    main(task, command.config, command.text, options, command.interrupted, command.first)


def as_overrides(arguments: Sequence[str], first: str, flags: Mapping[str, bool]) -> list[str]:
    """``file --flag value`` as ``first=file flag=value``; everything else as it is.

    Args:
        arguments: of the command line.
        first: the option of an argument without a name.
        flags: the options that may be written so, and whether they are switches: ``--flag`` alone is ``flag=true``.

    Raises:
        ConfigurationError: a flag that needs a value has none.
    """
    waiting, found = deque(arguments), []
    while waiting:
        argument = waiting.popleft()
        name, equals, value = argument.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if argument.startswith("--") and name in flags:
            if not equals and flags[name]:
                value = waiting.popleft() if waiting and waiting[0].lower() in ("true", "false") else "true"
            elif not equals and waiting and not waiting[0].startswith("--"):
                value = waiting.popleft()
            if not value:
                raise ConfigurationError(f"{argument} has no value: write --{name} VALUE, or leave it out")
            found.append(f"{name}={value}")
        elif argument in _WITH_VALUE:
            found += [argument, *(waiting.popleft() for _ in range(min(1, len(waiting))))]
        elif first and not equals and not argument.startswith("-"):
            found.append(f"{first}={argument}")
        else:
            found.append(argument)
    return found


def stablernn() -> None:
    """``stablernn NAME ...`` is scripts/NAME.py; without a name, or with --help, the list of names is printed.

    Exit code 2 where there is no such command.
    """
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_listed())
    elif name == "--version":
        print(f"stablernn {__version__}")
    elif name.replace("-", "_") in COMMANDS:
        sys.argv[1:] = arguments
        start(name.replace("-", "_"))
    else:
        from stablernn.config.compose import nearest
        from stablernn.utils.console import refuse

        names = [known.replace("_", "-") for known in COMMANDS]
        refuse(f"{name} is not a command{nearest(name, names)}; stablernn --help lists the commands")


def _listed() -> str:
    width = max(map(len, COMMANDS)) + 2
    return "\n".join(
        [
            "Must a recurrent model be recurrent? Stable recurrent models against feed-forward ones.",
            "",
            *(f"  stablernn {name.replace('_', '-'):{width}}{command.about}" for name, command in COMMANDS.items()),
            "",
            "stablernn NAME --help says what a command does and lists its options, written as option=value.",
        ]
    )
