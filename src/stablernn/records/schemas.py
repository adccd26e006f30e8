"""What each JSON file of results must hold for its reader: types, the entries that are needed, lists of one length.

A file may hold more, and a reader that takes an entry for optional may lack it. ``shape`` says how they are written.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stablernn.records.shape import check, check_alike, shape

_SCORED = {"value, total?": "number?", "count?": "count", "tally?": ["count"]}
_INTERFACE = {
    "inputs": {"kind": "=finite box", "size": "size", "low, high?": "number", "begin?": "count"},
    "outputs": {"kind": "=categorical bernoulli real", "size": "size"},
}
RECORD = shape(
    {
        "id": "id",
        "status": "=finished diverged paused stopped",
        "experiment, commit, finished_at": "text",
        "config": {
            "dataset": {"max_tokens?": ({"*": "count?"}, None)},
            "profile": {"name": "name"},
            "seed?": "count",
            "model, head, approximation?": {"name": "name"},
            "stability?": {"name": "name", "constraint": {"limit?": "number?"}},
            "truncation?": {"k": "size"},
            "optimizer?": {"lr?": "number"},
        },
        "data": {
            "name, fingerprint": "name",
            "tokens": {"*": "count"},
            "types?": "size",
            "metric?": "name",
            "interface?": _INTERFACE,
            "baselines?": {"*": "number"},  # scores on test, by name
        },
        "model": {"parameters?": "count", "norms?": ["mapping"], "equations?": "text"},
        "metrics": {
            "valid, test?": _SCORED,
            "optimal?": {"test": "number", "context?": "count?", "test_by_context?": ["number"]},
        },
        "progress": {"updates?": "count", "epochs?": "number", "best_update?": "count?"},
        "speed": {"seconds?": "number", "train_tokens_per_second?": "number?"},
        "hardware": {"device?": "text"},
        "versions": {"*": "text"},
        "certificate?": {"certified?": "flag?", "rate?": "number?", "reason?": "text", "norm?": "text?"},
    }
)
HISTORY = shape([{"*": "number?"}])
BLOCKS = shape({"counts": ["count"], "totals": ["number?"], "tallies?": [["count", 1]]})
PROGRESS = shape({"fingerprint, host?": "text", "total, process, update?": "count?", "ended?": "text?"})
CONVERTED = shape(
    {
        "schema": "count",
        "config": "mapping",
        "files": {"*": {"bytes": "count", "sha256": "text"}},
        "types?": "count",
        "interface?": _INTERFACE,
    }
)

_AVERAGES = {"mean, geometric": "number?"}
_MOMENT = {
    "mean": ["number", 1],
    "fallen": "count?",
    "slope, error": _AVERAGES,
    "geometric, median, low, high?": ["number?"],
}
_BIAS = {"cut": ["amount", 1], "bound": (["amount", 1], None), "rate": "amount?", "feedforward": {"*": "amount"}}
_CONTEXTS = {"0.01": "count?", "*": "count?"}
_ON_TEXT = {key: {"mean, p99, max": "number?", "shorter": "number"} for key in ("0.01", "*")}
_PROVEN = {"certified": "flag", "reason?": "text", "norm?": "text", "context?": {"*": "count?"}}
_ANALYSES: Mapping[str, Any] = {
    "certificate": {
        "options": {
            "lengths": ["size", 1],
            "epsilon": "number",
            "tokens": "count",
            "split": "=train valid test",
            "k_max": "size",
        },
        "certificate": _PROVEN,
        "initial?": _PROVEN,
        "singular_values?": {"initial, best": {"*": ["number", 2]}},
        "certified": {"*": "number?"},
        "measured": {"*": {"largest": "number"}},
        "measured_at, k": "count?",
        "by_norm?": {"*": {"rate": "number?", "certified": "flag", "k": "count?"}},
    },
    "certificate_on_text": {
        "options": {"split": "=train valid test", "k_max": "size"},
        "positions, of": "size",
        "longest": "size?",
        "proven": {"any, targets": _ON_TEXT},
        "largest": {"any, targets": ["number?", 1]},
        "on_all_texts": _CONTEXTS,
        "measured": (_CONTEXTS, None),
    },
    "contraction": {
        "options": {"longest": "size", "streams": "count", "split": "=train valid test"},
        "stages": {
            "initial, best, last": {
                "largest": ["number", 1],
                "lyapunov, lyapunov_deviation": "number",
                "contracts_from": "count?",
                "median?": ["number", 1],
            }
        },
    },
    "exposure": {
        "options": {"prefix, horizon, streams, samples": "size", "split": "=train valid test"},
        "stages": {"best, last": {"true, own, drawn": ["number", 1]}},
    },
    "free_running": {"options": {"split": "=train valid test"}, "true, own": ["count", 4]},
    "gradient_horizon": {
        "options": {"horizon": "size", "streams": "count", "split": "=train valid test"},
        "stages": {"initial, best, last": {**_MOMENT, "update?": "count"}},
        "during?": [{**_MOMENT, "update": "count"}],
    },
    "recurrence": {
        "options": {"split": "=train valid test", "tokens": "count?"},
        "rate_without": "number?",
        "scored": {"as trained, W": {"value": "number"}, "*": {"value": "number"}},
    },
    "truncation": {
        "options": {"split": "=train valid test"},
        "count": "count",
        "k": ["size", 1],
        "cut": ["count", 1],
        "value": ["amount", 1],
        "loss_change": ["number", 1],
        "recurrent": {"value": "number", "total": "number", "count": "count"},
        "certified": {"state, nats": (["number"], None), "reason?": "text?"},
        "optimal": (["number"], None),
        "optimal_whole_past": "number?",
        "largest": ["number"],
        "state": {"mean, p99, largest": ["number"]},
        "error?": {"blocks": "count", "length?": "size", "loss_change": ["number?"]},
    },
    "truncated_gradient": {
        "options": {"horizon": "size", "streams": "count", "split": "=train valid test"},
        "stages": {"initial, best, last": _BIAS},
    },
    "weight_distance": {
        "options": {"reference": "size"},
        "updates": ["count", 1],
        "distance, reference_moved": ["number", 1],
    },
}
_DESCENT = {"updates": ["count", 1], "error": ["number?", 1], "distance": [["number", 1], 1]}
_BOUND = [["number", 1], 1]
_LINEAR: Mapping[str, Any] = {
    "matrix": {
        "options": {
            "norm, rate": "number",
            "size, length, steps": "size",
            "seed": "count",
            "lengths": ["size", 1],
            "spectral_radius?": "number",
        },
        "best": {**_DESCENT, "bound?": _BOUND, "width?": "number"},
        "proven": ({**_DESCENT, "bound": _BOUND, "width": "number"}, None),
        "step_sizes": ["number", 1],
        "errors": ["number?"],
    },
    "scalar": {
        "options": {"target, start, tolerance": "number", "smallest, largest": "decade", "length, steps": "size"},
        "end": ["number?", 1],
        "rates": ["number", 1],
        "reached": ["flag", 1],
    },
}

_MACHINE = {"hardware": "text", "threads": "count"}
_TIMES = {"*": "time"}
_BY_COUNT = {"^[1-9][0-9]{0,6}$": "time"}
_COUNTED = {"operations, bytes, flop": "count"}
_TRAFFIC = {"products, rest": _COUNTED}
_BENCHES: Mapping[str, Any] = {
    "step": {
        **_MACHINE,
        "cases": {
            "*": {
                "model, stability, precision": "name",
                "size, batch": "size",
                "k": "size?",
                "products": "time",
                "seconds": {**_TIMES, "auto, plain": "time"},
                "parts": {"head, recurrence, update, projection": "amount"},
                "memory": {"*": "amount"},
                "commit?": "text",
                "products_seconds?": _TIMES,
            }
        },
        "packed?": {"*": _BY_COUNT},
        "ceiling?": {**_TIMES, "float32": "time"},
        "constraints?": {
            "*": {
                "model, stability": "name",
                "size, every": "size",
                "ratio": "number",
                "seconds": {**_TIMES, "with, without": "time"},
            }
        },
    },
    "sequences": {
        **_MACHINE,
        "cases": {
            "*": {
                "model, work": "name",
                "batch, steps, size": "size",
                "seconds": _TIMES,
                "memory": {"*": "amount"},
                "left_out": {"*": "text"},
                "rounds": {"*": "size"},
                "commit?": "text",
            }
        },
        "softmax?": _TIMES,
        "curves?": {
            "*": {
                "run": "text",
                "k_max": "size",
                "seconds": {**_TIMES, "states, plain_states": "time"},
                "states_ratio, curve_ratio, exact_ratio, swept": "number",
            }
        },
    },
    "large": {
        **_MACHINE,
        "cases": {
            "*": {
                "head, precision, precision_used": "name",
                "size, batch, accumulate": "size",
                "seconds, tokens_per_second": "time",
                "step_memory, peak": "count",
            }
        },
        "text": {"types, tokens": "size"},
        "encoding?": {
            "types": "size",
            "tokens": {"*": "size"},
            "seconds": "time",
            "memory, peak, bytes, again_seconds": "number",
        },
    },
    "mechanisms": {
        **_MACHINE,
        "cases": {
            "*": {
                "dataset, model, stability": "name",
                "parameters, rounds": "size",
                "ratio": "number",
                "seconds": {**_TIMES, "this, lstm": "time"},
                "commit?": "text",
            }
        },
    },
    "peers": {
        **_MACHINE,
        "cases": {
            "*": {
                "dataset, model, precision": "name",
                "k": "size",
                "parameters": {"this, lstm": "size"},
                "training, scoring": {"this, lstm": "time", "ratio": "number", "rounds": "size"},
                "commit?": "text",
            }
        },
    },
    "lease": {
        "device, profile": "text",
        "updates_per_second?": {r"^[\w.]+ [\w.]+$": "time"},
        "at_once?": {"*": _BY_COUNT},
        "plain, plain_tf32?": _TIMES,
    },
    "jobs": {**_MACHINE, "cases": {r"^[\w.]+-[\w.]+-[\w.]+-d[0-9]+-b[0-9]+$": _BY_COUNT}},
    "traffic": {
        "cases": {"*": {"model": "name", "size": "size", "tied": "flag", "plain, ours": _TRAFFIC}},
        "projections": {"*": {"model, stability": "name", "size, every": "size", **_TRAFFIC}},
    },
}


def analysis_check(name: str) -> Callable[[dict[str, Any]], None]:
    """What ``read_json`` asks of the result of an analysis."""
    schema = shape(_ANALYSES.get(name, {"options": "mapping"}))

    def check_analysis(values: dict[str, Any]) -> None:
        check(values, schema)
        if name == "truncation":
            bounds = values["certified"]
            check_alike(values, "k", "cut", "value", "loss_change", "optimal", "largest")
            for part in (values["state"], bounds, values.get("error", {})):
                for entry in part:
                    check_alike({"k": values["k"], entry: part[entry]}, "k", entry)
            if not bounds["nats"]:
                check(bounds, shape({"reason": "text"}))
        elif name == "weight_distance":
            check_alike(values, "updates", "distance", "reference_moved", "reference_norm")
        elif name == "contraction":
            _check_reach([stage["largest"] for stage in values["stages"].values()], values["options"]["longest"])
        elif name == "gradient_horizon":
            moments = (*values["stages"].values(), *values.get("during", ()))
            _check_reach([moment["mean"] for moment in moments], values["options"]["horizon"] + 1)
        elif name == "exposure":
            stages, reach = values["stages"].values(), values["options"]["horizon"] + 1
            _check_reach([losses for stage in stages for losses in stage.values()], reach)
            for stage in stages:
                check_alike(stage, "true", "own", "drawn")
        elif name == "truncated_gradient":
            stages, reach = values["stages"].values(), values["options"]["horizon"] + 1
            _check_reach([stage[part] for stage in stages for part in ("cut", "bound") if stage[part]], reach)
        elif name == "certificate":
            lengths = {str(length) for length in values["options"]["lengths"]}
            at = {str(values["measured_at"])} - {"None"}
            if lengths - values["certified"].keys() or (lengths | at) - values["measured"].keys():
                raise ValueError("there is nothing at one of options.lengths, or at measured_at")
            proven = values["certificate"]["certified"]
            check(values["certificate"], shape({"rate, radius, decoder": "number"} if proven else {"reason": "text"}))
            bounded = proven and "loss" not in values["certificate"]  # which says why no change of it follows
            check(values["certified"], shape({"*": "number" if bounded else "number?"}))

    return check_analysis


def _check_reach(lists: Sequence[Sequence[float]], length: int) -> None:
    if any(len(each) < length for each in lists):
        raise ValueError(f"stages do not reach as far as options, which is {length}")


def check_linear(values: dict[str, Any]) -> None:
    """What ``read_json`` asks of a descent on a linear system."""
    check(values, shape({"options": {"kind": f"={' '.join(_LINEAR)}"}}))
    kind = values["options"]["kind"]
    check(values, shape(_LINEAR[kind]))
    if kind == "scalar":
        check_alike(values, "end", "rates", "reached")
        return
    check_alike(values, "step_sizes", "errors")
    for descent in filter(None, (values["best"], values["proven"])):
        check_alike(descent, "updates", "error", "distance", "bound")
        for row in (*descent["distance"], *descent.get("bound", ())):
            check_alike(
                {"lengths": values["options"]["lengths"], "distance or bound": row}, "lengths", "distance or bound"
            )


def bench_check(kind: str) -> Callable[[dict[str, Any]], None]:
    """What ``read_json`` asks of a file of measurements."""
    schema = shape(_BENCHES.get(kind, "mapping"))

    def check_bench(values: dict[str, Any]) -> None:
        check(values, schema)
        if kind == "sequences":
            for case in values["cases"].values():
                check(values["softmax"], shape({f"{case['model']}-{case['work']}-d{case['size']}": "time"}))
        elif kind == "step":
            for case in values["cases"].values():
                timed = {"auto", "float32", "bf16", "plain"} & case["seconds"].keys()
                check(case["memory"], shape(dict.fromkeys(timed, "amount")))
            if unknown := values.get("packed", {}).keys() - values["cases"].keys():
                raise ValueError(f"packed names {min(unknown)!r:.60}, which is no case")
            check(values, shape({"ceiling": "mapping"} if values["cases"] else {}))

    return check_bench
