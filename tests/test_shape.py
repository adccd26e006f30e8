"""What a file must hold is checked fast, and by the same rules as the library that names the mistake."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stablernn.records.shape import check, shape

_LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.sampled_from(["", "a", "a b", "x\n", "LSTM"])
)
_JSON = st.recursive(
    _LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(st.sampled_from("abcd"), some, max_size=4)
)
_SHAPES = [
    {"a": "count", "b, c?": "number?", "d?": ["size", 1]},
    {"*": ("name", ["amount"])},
    {"+": "=a b"},
    ["flag"],
    {"a": {"^[ab]$": "decade"}, "*": "time"},
    ({"a": "text"}, {"b": "id"}, None),
]


@settings(max_examples=300)
@given(_JSON, st.sampled_from(_SHAPES))
def test_the_fast_check_takes_what_the_schema_takes(values, spec):
    schema = shape(spec)
    if Draft202012Validator(schema).is_valid(values):
        check(values, schema)
    else:
        with pytest.raises(ValueError, match=r"is not as its|lacks"):
            check(values, schema)
