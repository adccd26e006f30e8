"""Signatures as the schema of what a ``_target_`` is given: the types of its options, and whether a value fits one."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig, ListConfig

from stablernn.utils.errors import ConfigurationError


@cache
def hints(target: Callable) -> Mapping[str, Any]:
    """The type of every option of a class or function that has one written down.

    Raises:
        ConfigurationError: a type is the name of nothing that is there when the program runs.
    """
    made_by = target.__init__ if inspect.isclass(target) and inspect.signature(target).parameters else target
    try:
        return typing.get_type_hints(made_by)
    except NameError as error:
        raise ConfigurationError(f"the types of what {target.__qualname__} takes cannot be read: {error}") from None


def fits(value: Any, hint: Any) -> bool:
    """Whether a configuration value is of a type; types that YAML cannot express fit anything."""
    kinds = _kinds(hint)
    if len(kinds) > 1:
        return any(fits(value, kind) for kind in kinds)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if hint is type(None):
        return value is None
    if _is_generic(hint, Mapping):
        return isinstance(value, Mapping | DictConfig)
    if _is_generic(hint, Iterable) and not isinstance(value, Mapping | DictConfig):
        of = [each for each in typing.get_args(hint) if each is not ...]
        many = isinstance(value, list | tuple | ListConfig)
        return many and (len(of) != 1 or all(fits(entry, of[0]) for entry in value))
    return True


def as_taken(value: Any, hint: Any) -> Any:
    """A plain value as what takes it reads it: where a float is wanted, 3 is 3.0. Anything else stays what it is."""
    kinds = _kinds(hint)
    if type(value) is int:
        return float(value) if float in kinds and int not in kinds else value
    for kind in kinds:
        of = [each for each in typing.get_args(kind) if each is not ...]
        if isinstance(value, dict) and _is_generic(kind, Mapping):
            return {key: as_taken(entry, of[1]) for key, entry in value.items()}
        if isinstance(value, list) and _is_generic(kind, Sequence):
            per_entry = of if len(of) == len(value) else of[:1] * len(value)
            return [as_taken(entry, each) for entry, each in zip(value, per_entry, strict=True)]
    return value


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type that it is."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _is_generic(hint: Any, kind: type) -> bool:
    """Whether it is written as ``kind[...]``."""
    origin = typing.get_origin(hint)
    return inspect.isclass(origin) and issubclass(origin, kind)
