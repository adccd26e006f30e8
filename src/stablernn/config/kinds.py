"""The kind of an option, where no schema says it: that of its default. A default that is null or text says nothing."""

from omegaconf import DictConfig, OmegaConf

from stablernn.config.compose import locate
from stablernn.utils.errors import ConfigurationError

_TOLD = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}


def check_kinds(config: DictConfig, config_name: str) -> None:
    """Refuse an option of another kind than its default; null is for the script to judge.

    Raises:
        ConfigurationError: names the option and what it takes.
    """
    folder, name = locate(config_name)
    written, given = (
        OmegaConf.to_container(each, resolve=False) for each in (OmegaConf.load(folder / f"{name}.yaml"), config)
    )
    assert isinstance(written, dict)
    assert isinstance(given, dict)
    for option in sorted(map(str, written.keys() - {"defaults", "hydra"})):
        if option not in given:
            raise ConfigurationError(f"{option} is not set: give it a value, as in {option}={_shown(written[option])}")
        _check_kind(option, given[option], written[option])


def _check_kind(option: str, value: object, default: object) -> None:
    if isinstance(default, dict) and isinstance(value, dict):
        for key in default.keys() & value.keys():
            _check_kind(f"{option}.{key}", value[key], default[key])
    elif isinstance(default, list) and isinstance(value, list):
        known = [entry for entry in default if entry is not None]
        for entry in value if known else []:
            if not any(_alike(entry, other) for other in known):
                raise ConfigurationError(
                    f"{option}: {entry} is not of the kind that it takes, as in {option}={_shown(default)}"
                )
    elif not _alike(value, default):
        raise ConfigurationError(
            f"{option}={_shown(value)} must be {_TOLD[type(default)]}, as in {option}={_shown(default)}"
        )


def _alike(value: object, default: object) -> bool:
    if value is None or type(default) not in _TOLD:
        return True
    if type(default) in (int, float):
        return type(value) in (int, float)
    return type(value) is type(default)


def _shown(value: object) -> str:
    """As it is written on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).translate(str.maketrans("", "", "' ")).replace("None", "null")
