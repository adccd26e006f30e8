"""The kind of an option, where no schema says it: that of its default. A default that is null or text says nothing."""

from omegaconf import DictConfig, OmegaConf

from stablernn.config.compose import locate
from stablernn.utils.errors import ConfigurationError

_SAID = {bool: "true or false", float: "a number", list: "a list", dict: "a mapping"}


def check_kinds(config: DictConfig, config_name: str) -> None:
    """Refuse an option of another kind than its default; null is for the script to judge.

    Raises:
        ConfigurationError: names the option and what it takes.
    """
    folder, name = locate(config_name)
    written: dict[str, object] = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml"), resolve=False)  # type: ignore[assignment]
    given: dict[str, object] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    for option in sorted(written.keys() - {"defaults", "hydra"}):
        if option not in given:
            raise ConfigurationError(f"{option} is not set: give it a value, as in {option}={_shown(written[option])}")
        _check(option, given[option], written[option])


def _check(option: str, value: object, default: object) -> None:
    kind, as_in = _kind(default), f"as in {option}={_shown(default)}"
    if value is None or kind not in _SAID:
        return
    if _kind(value) is not kind:
        raise ConfigurationError(f"{option}={_shown(value)} must be {_SAID[kind]}, {as_in}")
    if isinstance(default, dict) and isinstance(value, dict):
        for key in default.keys() & value.keys():
            _check(f"{option}.{key}", value[key], default[key])
    elif isinstance(default, list) and isinstance(value, list):
        kinds = {_kind(entry) for entry in default if entry is not None} | {type(None)}
        wrong = [entry for entry in value if _kind(entry) not in kinds]
        if wrong and len(kinds) > 1:
            raise ConfigurationError(f"{option}: {wrong[0]} is not of the kind that it takes, {as_in}")


def _kind(value: object) -> type:
    return float if type(value) is int else type(value)


def _shown(value: object) -> str:
    """As it is written on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).translate(str.maketrans("", "", "' ")).replace("None", "null")
