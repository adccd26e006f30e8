"""Results of the first edition, which knew perplexities alone, under the names that every task has today."""

from collections.abc import Mapping
from typing import Any

_SCORE = {"perplexity": "value", "nats": "total", "tokens": "count"}
_ROW = {"train_perplexity": "train", "valid_perplexity": "valid"}


def neutral(node: Any) -> Any:
    """Scores (perplexity, nats, tokens) as (value, total, count), wherever they lie in a result."""
    if isinstance(node, list):
        return [neutral(item) for item in node]
    if not isinstance(node, dict):
        return node
    names = _SCORE if _SCORE.keys() <= node.keys() else {"perplexity": "value"}
    return {names.get(key, key): neutral(value) for key, value in node.items()}


def neutral_rows(history: Any) -> Any:
    """The rows of a history."""
    if not isinstance(history, list):
        return history
    return [{_ROW.get(key, key): v for key, v in row.items()} if isinstance(row, dict) else row for row in history]


def neutral_blocks(blocks: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a test score: the length of each, where one length once stood for all but the last."""
    if "length" not in blocks:
        return dict(blocks)
    length, count = blocks["length"], blocks["tokens"]
    counts = [length] * (count // length) + [count % length] * (count % length > 0)
    return {"counts": counts, "totals": blocks["nats"]}
