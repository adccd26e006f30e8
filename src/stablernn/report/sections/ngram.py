"""A trained recurrent model as an n-gram, from its truncation curve: the last n - 1 words, or a reset every n words.

The n-gram of Chelba, Norouzi & Bengio 2017 (arXiv 1703.10724) predicts every word from the n - 1 words before it: it is
the model truncated to k = n - 1. A model whose state is set to zero every n words sees j words at the j-th place of a
block; over the n places where blocks may begin, every position is at every place once. So the mean over the n grids is

    log ppl_n = (1 / n) Σ_{j=1..n} log ppl^(j)          ppl^(j): truncated to the last j words

exactly, the beginning of the text included, and the whole table needs no scoring of its own.
"""

import math
from typing import Any

from stablernn.report.labels import describe
from stablernn.report.load import Found
from stablernn.report.tables import Table, of_a_run

SHOWN = (2, 3, 5, 10, 20, 35)


def reset_perplexities(result: dict[str, Any]) -> list[float]:
    """Perplexity with the state set to zero every n = 1, 2, ... words, mean over the grids, of a truncation curve.

    The curve must hold k = 1, 2, ... without a gap; so far as it does, n goes.
    """
    found, total = [], 0.0
    for n, (k, perplexity) in enumerate(zip(result["k"], result["value"], strict=True), 1):
        if k != n:
            break
        total += math.log(perplexity)
        found.append(math.exp(total / n))
    return found


def ngram_table(found: Found) -> Table:
    """Two lines for each run: n-gram, and reset every n words."""
    shown = [n for n in SHOWN if all(n <= len(reset_perplexities(result)) for _, result in found)]
    heads = ["model", "stability", "context", *(f"n={n}" for n in shown), "all"]
    lines = []
    for names, (_, result) in zip(describe(found), found, strict=True):
        reset = reset_perplexities(result)
        whole = f"{result['recurrent']['value']:.1f}"
        lines.append([*names, "n - 1 words", *(f"{result['value'][n - 2]:.1f}" for n in shown), whole])
        lines.append([*names, "reset every n", *(f"{reset[n - 1]:.1f}" for n in shown), whole])
    notes = [
        f"perplexity of the same weights on {found[0][1]['options']['split']}; all: the recurrent model as trained",
        "n - 1 words: each word predicted from the n - 1 before it, as an n-gram",
        "reset every n: state set to zero every n words, so 1 to n words of context; mean (of the log) over where the "
        "resets fall",
    ]
    twice = [record for record, _ in found for _ in range(2)]
    return Table("Recurrent models as n-grams", heads, lines, notes, runs=of_a_run(twice, heads, 3), texts=3)
