"""Records of the first edition under today's names."""

import math

from hypothesis import given
from hypothesis import strategies as st

from stablernn.records.neutral import neutral, neutral_blocks, neutral_rows


def test_a_score_keeps_its_numbers_under_the_names_of_every_task():
    old = {"test": {"perplexity": 100.0, "nats": 460.5, "tokens": 100}, "curve": [{"perplexity": 2.0, "k": 3}]}
    assert neutral(old) == {"test": {"value": 100.0, "total": 460.5, "count": 100}, "curve": [{"value": 2.0, "k": 3}]}


def test_counts_of_something_else_keep_their_name():
    """``tokens`` is a count of scored items in a score alone: the length of a split and an option are not renamed."""
    others = {"data": {"tokens": {"train": 9}}, "options": {"tokens": None, "nats": 1}, "words": 3}
    assert neutral(others) == others


values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["abvalue", "total", "count"]), inner),
    max_leaves=10,
)


@given(values)
def test_what_has_todays_names_stays_as_it_is(value):
    assert neutral(value) == value


def test_rows_of_a_history_and_what_is_none():
    rows = [{"update": 3, "train_perplexity": 9.0}, {"update": 4, "valid_perplexity": 8.0}]
    assert neutral_rows(rows) == [{"update": 3, "train": 9.0}, {"update": 4, "valid": 8.0}]
    assert neutral_rows(neutral_rows(rows)) == neutral_rows(rows)
    assert neutral_rows("damaged") == "damaged"


@given(length=st.integers(1, 9), tokens=st.integers(0, 60))
def test_blocks_have_all_the_tokens_and_one_total_each(length, tokens):
    nats = [1.0] * math.ceil(tokens / length)
    blocks = neutral_blocks({"length": length, "tokens": tokens, "nats": nats})
    assert sum(blocks["counts"]) == tokens
    assert len(blocks["counts"]) == len(blocks["totals"])
    assert all(count == length for count in blocks["counts"][:-1])
    assert neutral_blocks(blocks) == blocks
