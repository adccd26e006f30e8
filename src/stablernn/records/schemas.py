"""What each JSON file of results must hold for its reader: types, the entries that are needed, lists of one length.

A file may hold more, and a reader that takes an entry for optional may lack it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stablernn.records.neutral import neutral
from stablernn.utils.names import LONGEST_NAME, NAME

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NAMED: Schema = {"type": "string", "pattern": rf"^{NAME.pattern}\Z", "maxLength": LONGEST_NAME}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SIZE: Schema = {"type": "integer", "minimum": 1}
ANY_MAPPING: Schema = {"type": "object"}


def mapping(needed: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these entries, and perhaps others."""
    return {"type": "object", "properties": {**needed, **(optional or {})}, "required": list(needed)}


def every(schema: Schema, least: int = 0) -> Schema:
    """An object whose entries are all alike."""
    return {"type": "object", "additionalProperties": schema, "minProperties": least}


def several(schema: Schema, least: int = 0) -> Schema:
    """A list whose entries are all alike."""
    return {"type": "array", "items": schema, "minItems": least}


def optional(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


NUMBERS = several(NUMBER, least=1)
SCORE = mapping({"value": NUMBER, "total": NUMBER, "count": SIZE})
_SCORED = mapping({}, {"value": optional(NUMBER), "total": optional(NUMBER), "count": COUNT, "tally": several(COUNT)})

_INPUTS = mapping({"kind": {"enum": ["finite", "box"]}, "size": SIZE}, {"low": NUMBER, "high": NUMBER})
_OUTPUTS = mapping({"kind": {"enum": ["categorical", "bernoulli"]}, "size": SIZE})
_INTERFACE = mapping({"inputs": _INPUTS, "outputs": _OUTPUTS})
RECORD = mapping(
    {
        "id": {"type": "string", "pattern": rf"^{NAME.pattern}\Z", "maxLength": 240},
        "status": {"enum": ["finished", "diverged", "paused", "stopped"]},
        "experiment": TEXT,
        "config": mapping(
            {
                "dataset": mapping({}, {"max_tokens": optional(every(optional(COUNT)))}),
                "profile": mapping({"name": NAMED}),
            },
            {
                "seed": COUNT,
                "model": mapping({"name": NAMED}),
                "head": mapping({"name": NAMED}),
                "stability": mapping(
                    {"name": NAMED, "constraint": mapping({}, {"limit": optional(NUMBER)})},
                ),
                "approximation": mapping({"name": NAMED}),
                "truncation": mapping({"k": SIZE}),
                "optimizer": mapping({}, {"lr": NUMBER}),
            },
        ),
        "data": mapping(
            {"name": NAMED, "fingerprint": NAMED, "tokens": every(COUNT)},
            {"types": SIZE, "metric": NAMED, "interface": _INTERFACE},
        ),
        "model": mapping({}, {"parameters": COUNT, "norms": several(ANY_MAPPING)}),
        "metrics": mapping(
            {},
            {
                "valid": _SCORED,
                "test": _SCORED,
                "optimal": mapping({"test": NUMBER}, {"context": optional(COUNT), "test_by_context": several(NUMBER)}),
            },
        ),
        "progress": mapping({}, {"updates": COUNT, "epochs": NUMBER, "best_update": optional(COUNT)}),
        "speed": mapping({}, {"seconds": NUMBER, "train_tokens_per_second": optional(NUMBER)}),
        "hardware": mapping({}, {"device": TEXT}),
        "versions": every(TEXT),
        "commit": TEXT,
        "finished_at": TEXT,
    },
    {
        "schema": COUNT,
        "certificate": mapping(
            {},
            {
                "certified": optional({"type": "boolean"}),
                "rate": optional(NUMBER),
                "reason": TEXT,
                "norm": optional(TEXT),
            },
        ),
    },
)
ROW = every({"type": ["number", "null"]})
BLOCKS: Schema = {
    "anyOf": [
        mapping(
            {"counts": several(COUNT), "totals": several(optional(NUMBER))},
            {"tallies": several(several(COUNT, least=1))},
        ),
        mapping({"length": SIZE, "tokens": COUNT, "nats": several(optional(NUMBER))}),
    ]
}

_OPTIONS = mapping({"options": ANY_MAPPING})
_CERTIFIED = mapping(
    {"state": optional(several(NUMBER)), "nats": optional(several(NUMBER))}, {"reason": optional(TEXT)}
)
_AVERAGES = mapping(dict.fromkeys(("mean", "geometric"), optional(NUMBER)))
_MOMENT = mapping(
    {"mean": NUMBERS, "fallen": optional(COUNT), "slope": _AVERAGES, "error": _AVERAGES},
    {
        "update": COUNT,
        **dict.fromkeys(("geometric", "median", "low", "high"), several(optional(NUMBER))),
    },
)
_STAGE = mapping(
    {"largest": NUMBERS, "lyapunov": NUMBER, "lyapunov_deviation": NUMBER, "contracts_from": optional(COUNT)},
    {"median": NUMBERS},
)

ANALYSES: Mapping[str, Schema] = {
    "certificate": mapping(
        {
            "options": mapping(
                {"lengths": several(SIZE, 1), "epsilon": NUMBER, "tokens": COUNT, "split": TEXT, "k_max": SIZE}
            ),
            "certificate": mapping({"certified": {"type": "boolean"}}, {"reason": TEXT, "norm": optional(TEXT)}),
            "certified": every(optional(NUMBER)),
            "measured": every(mapping({"largest": NUMBER})),
            "measured_at": optional(COUNT),
            "k": optional(COUNT),
        }
    ),
    "contraction": mapping(
        {
            "options": mapping({"longest": SIZE, "streams": COUNT, "split": TEXT}),
            "stages": {"type": "object", "additionalProperties": _STAGE, "minProperties": 1},
        }
    ),
    "gradient_horizon": mapping(
        {
            "options": mapping({"horizon": SIZE, "streams": COUNT, "split": TEXT}),
            "stages": mapping(dict.fromkeys(("initial", "best", "last"), _MOMENT)),
        },
        {"during": several({**_MOMENT, "required": [*_MOMENT["required"], "update"]})},
    ),
    "recurrence": mapping(
        {
            "options": mapping({"split": TEXT, "tokens": optional(COUNT)}),
            "rate_without": optional(NUMBER),
            "scored": {
                "type": "object",
                "additionalProperties": mapping({"value": NUMBER}),
                "required": ["as trained", "W"],
            },
        }
    ),
    "truncation": mapping(
        {
            "options": mapping({"split": TEXT}),
            "words": COUNT,
            "k": several(SIZE, 1),
            "value": several(NUMBER, least=1),
            "log_perplexity": NUMBERS,
            "recurrent": mapping({"value": NUMBER}, {"total": NUMBER, "count": COUNT}),
            "certified": _CERTIFIED,
            "optimal": optional(several(NUMBER)),
            "optimal_whole_past": optional(NUMBER),
            "largest": several(NUMBER),
            "state": mapping(dict.fromkeys(("mean", "p99", "largest"), several(NUMBER))),
        },
        {
            "error": mapping({"blocks": COUNT, "length": SIZE, "log_perplexity": several(optional(NUMBER))}),
        },
    ),
    "weight_distance": mapping(
        {
            "options": mapping({"reference": SIZE}),
            "updates": several(COUNT, 1),
            "distance": NUMBERS,
            "reference_moved": NUMBERS,
        }
    ),
}
_DESCENT = mapping(
    {"updates": several(COUNT, 1), "error": several(optional(NUMBER), 1), "distance": several(NUMBERS, 1)},
    {"bound": several(NUMBERS, 1), "width": NUMBER},
)
_MATRIX = mapping(
    {
        "options": mapping(
            {
                **dict.fromkeys(("norm", "rate"), NUMBER),
                **dict.fromkeys(("size", "length", "steps"), SIZE),
                "seed": COUNT,
                "lengths": several(SIZE, 1),
            },
            {"spectral_radius": NUMBER},
        ),
        "best": _DESCENT,
        "proven": optional({**_DESCENT, "required": [*_DESCENT["required"], "bound", "width"]}),
        "step_sizes": NUMBERS,
        "errors": several(optional(NUMBER)),
    }
)
_DECADE: Schema = {"type": "number", "minimum": -300, "maximum": 300}
_SCALAR = mapping(
    {
        "options": mapping(
            {
                **dict.fromkeys(("target", "start", "tolerance"), NUMBER),
                **dict.fromkeys(("smallest", "largest"), _DECADE),
                **dict.fromkeys(("length", "steps"), SIZE),
            }
        ),
        "end": several(optional(NUMBER), 1),
        "rates": NUMBERS,
        "reached": several({"type": "boolean"}, 1),
    }
)
LINEAR: Mapping[str, Schema] = {"matrix": _MATRIX, "scalar": _SCALAR}

_TIME: Schema = {"type": "number", "exclusiveMinimum": 0}
_TIMES = every(_TIME)
_AT_LEAST_ZERO: Schema = {"type": "number", "minimum": 0}
_BYTES = every(_AT_LEAST_ZERO)
_MACHINE = {"hardware": TEXT, "threads": COUNT}
_STEP = mapping(
    {
        **dict.fromkeys(("model", "stability", "precision"), NAMED),
        **dict.fromkeys(("size", "batch"), SIZE),
        "k": optional(SIZE),
        "products": _TIME,
        "seconds": {**_TIMES, "required": ["auto", "plain"]},
        "parts": mapping(dict.fromkeys(("head", "recurrence", "update", "projection"), _AT_LEAST_ZERO)),
        "memory": _BYTES,
    },
    {"commit": TEXT, "products_seconds": _TIMES},
)
_SEQUENCE = mapping(
    {
        **dict.fromkeys(("model", "work"), NAMED),
        **dict.fromkeys(("batch", "steps", "size"), SIZE),
        "seconds": _TIMES,
        "memory": _BYTES,
        "left_out": every(TEXT),
        "rounds": every(SIZE),
    },
    {"commit": TEXT},
)
_CURVE = mapping(
    {
        "run": TEXT,
        "k_max": SIZE,
        "seconds": {**_TIMES, "required": ["states", "plain_states"]},
        **dict.fromkeys(("states_ratio", "curve_ratio", "exact_ratio", "swept"), NUMBER),
    }
)
_LARGE = mapping(
    {
        **dict.fromkeys(("head", "precision", "precision_used"), NAMED),
        **dict.fromkeys(("size", "batch", "accumulate"), SIZE),
        **dict.fromkeys(("seconds", "tokens_per_second"), _TIME),
        **dict.fromkeys(("step_memory", "peak"), COUNT),
    }
)
_CONSTRAINT = mapping(
    {
        **dict.fromkeys(("model", "stability"), NAMED),
        **dict.fromkeys(("size", "every"), SIZE),
        "ratio": NUMBER,
        "seconds": {**_TIMES, "required": ["with", "without"]},
    }
)
_BY_COUNT = {"type": "object", "patternProperties": {"^[1-9][0-9]{0,6}$": _TIME}, "additionalProperties": False}
_JOBS = {
    "type": "object",
    "patternProperties": {r"^[\w.]+-[\w.]+-[\w.]+-d[0-9]+-b[0-9]+$": _BY_COUNT},
    "additionalProperties": False,
}
_COUNTED = mapping(dict.fromkeys(("operations", "bytes", "flop"), COUNT))
_TRAFFIC = mapping({"products": _COUNTED, "rest": _COUNTED})
BENCHES: Mapping[str, Schema] = {
    "step": mapping(
        {**_MACHINE, "cases": every(_STEP)},
        {"packed": every(_BY_COUNT), "ceiling": {**_TIMES, "required": ["float32"]}, "constraints": every(_CONSTRAINT)},
    ),
    "sequences": mapping({**_MACHINE, "cases": every(_SEQUENCE)}, {"softmax": _TIMES, "curves": every(_CURVE)}),
    "large": mapping(
        {**_MACHINE, "cases": every(_LARGE), "text": mapping({"types": SIZE, "tokens": SIZE})},
        {
            "encoding": mapping(
                {
                    "types": SIZE,
                    "tokens": every(SIZE),
                    "seconds": _TIME,
                    **dict.fromkeys(("memory", "peak", "bytes", "again_seconds"), NUMBER),
                }
            )
        },
    ),
    "jobs": mapping({**_MACHINE, "cases": _JOBS}),
    "traffic": mapping(
        {
            "cases": every(
                mapping(
                    {"model": NAMED, "size": SIZE, "tied": {"type": "boolean"}, "plain": _TRAFFIC, "ours": _TRAFFIC}
                )
            ),
            "projections": every(
                mapping({"model": NAMED, "stability": NAMED, "size": SIZE, "every": SIZE, **_TRAFFIC["properties"]})
            ),
        }
    ),
}
PROGRESS = mapping(
    {},
    dict.fromkeys(("fingerprint", "host"), TEXT)
    | dict.fromkeys(("total", "process", "update"), optional(COUNT))
    | {"ended": optional(TEXT)},
)
CONVERTED = mapping(
    {
        "schema": COUNT,
        "config": ANY_MAPPING,
        "files": every(mapping({"bytes": COUNT, "sha256": TEXT})),
    },
    {"types": {"type": "integer"}, "interface": _INTERFACE},
)


def check(values: Any, schema: Schema) -> None:
    """Raises ValueError that names the first entry which is not what it must be."""
    from jsonschema import Draft202012Validator  # here, because only reading needs it
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(values))
    if error is None:
        return
    place = ".".join(map(str, error.absolute_path)) or "the whole"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        raise ValueError(f"{place} lacks {missing}")
    raise ValueError(f"{place} is not as its {error.validator} {error.validator_value!r} says"[:200])


def check_alike(values: Mapping[str, Any], entries: Sequence[str]) -> None:
    """Raises ValueError unless these lists, as far as they are there, have one length."""
    lengths = {len(values[name]) for name in entries if isinstance(values.get(name), list)}
    if len(lengths) > 1:
        raise ValueError(f"{', '.join(entries)} are not of one length")


def analysis_check(name: str) -> Callable[[dict[str, Any]], None]:
    """What ``read_json`` asks of the result of an analysis."""

    def check_analysis(values: dict[str, Any]) -> None:
        values = neutral(values)
        check(values, ANALYSES.get(name, _OPTIONS))
        if name == "truncation":
            check_alike(values, ("k", "value", "log_perplexity", "optimal", "largest"))
            for part in (*(values.get("state") or {}).values(), *filter(None, map(values["certified"].get, _BOUNDS))):
                check_alike({"k": values["k"], "of the states or bounds": part}, ("k", "of the states or bounds"))
            check_alike({**values.get("error", {}), "k": values["k"]}, ("k", "log_perplexity"))
            if not values["certified"]["nats"]:
                check(values["certified"], mapping({"reason": TEXT}))
        elif name == "weight_distance":
            check_alike(values, ("updates", "distance", "reference_moved", "reference_norm"))
        elif name == "contraction":
            for stage in values["stages"].values():
                if len(stage["largest"]) < values["options"]["longest"]:
                    raise ValueError("stages do not reach as far as options.longest")
        elif name == "gradient_horizon":
            for moment in (*values.get("stages", {}).values(), *values.get("during", ())):
                if len(moment["mean"]) <= values["options"]["horizon"]:
                    raise ValueError("stages do not reach as far as options.horizon")
        elif name == "certificate":
            for length in map(str, values["options"]["lengths"]):
                if length not in values["measured"] or length not in values["certified"]:
                    raise ValueError(f"there is nothing at the length {length}")
            if values["measured_at"] is not None and str(values["measured_at"]) not in values["measured"]:
                raise ValueError("there is nothing at measured_at")
            if values["certificate"]["certified"]:
                check(values["certificate"], mapping(dict.fromkeys(("rate", "radius", "decoder"), NUMBER)))
                check(values["certified"], every(NUMBER))
            else:
                check(values["certificate"], mapping({"reason": TEXT}))

    return check_analysis


_BOUNDS = ("state", "nats")


def check_linear(values: dict[str, Any]) -> None:
    """What ``read_json`` asks of a descent on a linear system."""
    check(values, mapping({"options": mapping({"kind": {"enum": list(LINEAR)}})}))
    kind = values["options"]["kind"]
    check(values, LINEAR[kind])
    if kind == "scalar":
        check_alike(values, ("end", "rates", "reached"))
        return
    check_alike(values, ("step_sizes", "errors"))
    for descent in filter(None, (values["best"], values["proven"])):
        check_alike(descent, ("updates", "error", "distance", "bound"))
        for name in ("distance", "bound"):
            if any(len(row) != len(values["options"]["lengths"]) for row in descent.get(name, ())):
                raise ValueError(f"{name} is not told for each of options.lengths")


def bench_check(kind: str) -> Callable[[dict[str, Any]], None]:
    """What ``read_json`` asks of a file of measurements."""

    def check_bench(values: dict[str, Any]) -> None:
        check(values, BENCHES.get(kind, ANY_MAPPING))
        for case in values["cases"].values() if kind == "sequences" else ():
            softmax = f"{case['model']}-{case['work']}-d{case['size']}"
            if softmax not in values.get("softmax", {}):
                raise ValueError(f"softmax lacks {softmax}")
        for case in values["cases"].values() if kind == "step" else ():
            if any(
                name not in case["memory"] for name in {"auto", "float32", "bf16", "plain"} & case["seconds"].keys()
            ):
                raise ValueError("memory is not told for each of seconds")
            if "ceiling" not in values:
                raise ValueError("ceiling is missing")
        if kind == "step" and (unknown := values.get("packed", {}).keys() - values["cases"].keys()):
            raise ValueError(f"packed names {min(unknown)!r:.60}, which is no case")

    return check_bench
