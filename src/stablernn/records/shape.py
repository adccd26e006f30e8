"""A short form of JSON schemas, and what says in one line where values are not as theirs asks."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from stablernn.utils.names import LONGEST_NAME, NAME

Schema = Mapping[str, Any]

_WORDS: dict[str, Schema] = {
    "text": {"type": "string"},
    "name": {"type": "string", "pattern": rf"^{NAME.pattern}\Z", "maxLength": LONGEST_NAME},
    "id": {"type": "string", "pattern": rf"^{NAME.pattern}\Z", "maxLength": 240},
    "number": {"type": "number"},
    "time": {"type": "number", "exclusiveMinimum": 0},
    "amount": {"type": "number", "minimum": 0},
    "decade": {"type": "number", "minimum": -300, "maximum": 300},
    "count": {"type": "integer", "minimum": 0},
    "size": {"type": "integer", "minimum": 1},
    "flag": {"type": "boolean"},
    "mapping": {"type": "object"},
}


def shape(spec: Any) -> Schema:
    """The JSON schema of a short form.

    ``"count"`` is one of ``_WORDS``, ``"count?"`` also null, ``"=a b"`` one of these texts, ``(x, y)`` one of the two,
    ``[x]`` a list, ``[x, 1]`` one that is not empty. A mapping has the entries ``"a, b"`` and perhaps ``"c, d?"``, and
    all others are as that of ``"*"``, or ``"+"`` if there must be one; with ``"^..."`` all match this pattern.
    """
    if isinstance(spec, tuple):
        return {"anyOf": [shape(each) for each in spec]}
    if isinstance(spec, list):
        return {"type": "array", "items": shape(spec[0]), "minItems": spec[1] if len(spec) > 1 else 0}
    if isinstance(spec, str):
        if spec.startswith("="):
            return {"enum": spec[1:].split()}
        return shape((spec[:-1], None)) if spec.endswith("?") else _WORDS[spec]
    if spec is None:
        return {"type": "null"}
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for key, value in spec.items():
        if key in ("*", "+"):
            schema |= {"additionalProperties": shape(value), "minProperties": int(key == "+")}
        elif key.startswith("^"):
            schema |= {"patternProperties": {key: shape(value)}, "additionalProperties": False}
        else:
            names = key.rstrip("?").split(", ")
            schema["properties"] |= dict.fromkeys(names, shape(value))
            schema["required"] += [] if key.endswith("?") else names
    return schema


@cache
def _compiled(schema: str) -> Callable[[Any], Any]:
    from fastjsonschema import compile  # here, because only reading needs it

    return compile(json.loads(schema))


def check(values: Any, schema: Schema) -> None:
    """Raises ValueError that names the first entry which is not what it must be."""
    from fastjsonschema import JsonSchemaException

    try:  # ten times as fast, but it does not say which of several entries is meant
        _compiled(json.dumps(schema))(values)
        return
    except JsonSchemaException:
        pass
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(values))
    if error is None:
        return
    place = ".".join(map(str, error.absolute_path)) or "the whole"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        raise ValueError(f"{place} lacks {missing}")
    raise ValueError(f"{place} is not as its {error.validator} {error.validator_value!r} says"[:200])


def check_alike(values: Mapping[str, Any], *entries: str) -> None:
    """Raises ValueError unless these lists, as far as they are there, have one length."""
    lengths = {len(values[name]) for name in entries if isinstance(values.get(name), list)}
    if len(lengths) > 1:
        raise ValueError(f"{', '.join(entries)} are not of one length")
