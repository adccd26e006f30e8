"""What readers know models and constraints by, in which order, and what was published of them."""

from collections.abc import Container

# Miller & Hardt, blog of August 2018: WikiText-2 test perplexity of the recurrent models. Whether the stable models
# were trained under the conditions as the paper states them or as the code has them is not known: the code is of
# September 2018, younger than the blog.
PUBLISHED = {
    ("rnn", "unstable"): 146.7,
    ("rnn", "stable"): 143.5,
    ("rnn", "rnn_as_coded"): 143.5,
    ("lstm", "unstable"): 92.3,
    ("lstm", "stable"): 95.1,
    ("lstm", "lstm_as_coded"): 95.1,
}

STUDIED = {model for model, _ in PUBLISHED}  # for other models ``stable`` is no condition of the study's
MODEL_NAMES = {
    "rnn": "RNN",
    "lstm": "LSTM",
    "gru": "GRU",
    "birnn": "bidirectional RNN",
    "bilstm": "bidirectional LSTM",
    "bigru": "bidirectional GRU",
    "lstm_fixed": "LSTM with fixed f",
    "min_gru": "minGRU",
    "min_lstm": "minLSTM",
    "sru": "SRU",
    "qrnn": "QRNN",
    "statistical": "statistical RU",
    "scrn": "SCRN",
    "clockwork": "clockwork RNN",
    "irnn": "IRNN",
    "np_rnn": "np-RNN",
    "rin": "RIN",
    "indrnn": "IndRNN",
    "orthogonal": "orthogonal RNN",
    "unitary": "unitary RNN",
    "narx": "NARX RNN",
    "mist": "MIST RNN",
    "dilated": "dilated RNN",
    "fru": "FRU",
    "encoder_decoder": "encoder, decoder",
    "encoder_decoder_attention": "encoder, decoder, attention",
    "tcn": "TCN",
    "gated_conv": "gated convolution",
    "wavenet": "WaveNet",
    "transformer": "Transformer",
}
APPROXIMATION_NAMES = {"recurrent": "recurrent", "feedforward": "feed-forward"}
STABILITIES = ("unstable", "stable")  # the study's
# Constraints in the order of tables and of colours, so that a new one is the last, with the names that readers know.
CONSTRAINTS = {
    "unstable": "unstable",
    "stable": "as stated",
    "rnn_as_coded": "as coded",
    "rnn_spectral": "‖W‖₂ ≤ λ",
    "rnn_diagonal": "‖D W D⁻¹‖₂ ≤ λ",
    "lstm_as_coded": "as coded",
    "lstm_comparison": "scalar",
    "lstm_rowwise": "row-wise",
    "lstm_spectral": "2-norm",
    "lstm_coupled": "coupled",
    "lstm_gated_linear": "W = 0",
    "gru_gated_linear": "W = 0",
    "lstm_output_gate": "W_o alone",
    "lstm_cascade": "cascade",
    "indrnn_long": "u ≤ 2^(1/T)",
    "orthogonal_polar": "W orthogonal",
    "clockwork_blocks": "‖W_ii‖₂ ≤ λ",
    "rnn_singular": "|σ - 1| ≤ m",
    "gru_singular": "‖W_n‖₂ < 2",
}
# What a reader has to know of this project's own.
MEANINGS = {
    "rnn_diagonal": "for the diagonal D that balances W",
    "lstm_comparison": "one small-gain condition on the norms of all matrices: Terzi et al., arXiv 1910.04024, refined",
    "lstm_rowwise": "the same unit by unit",
    "lstm_spectral": "unit by unit, in the 2-norm",
    "lstm_coupled": "i = 1 - f, and row-wise",
    "lstm_gated_linear": "no recurrent matrices",
    "lstm_output_gate": "‖W_o‖₂ < 4, the other recurrent matrices are 0",
    "lstm_cascade": "groups of units that read those before them, W_o alone within a group",
}


def approximation_name(approximation: str) -> str:
    """As readers know it; one of another package's by its own name."""
    return APPROXIMATION_NAMES.get(approximation, approximation)


def rank(model: str) -> int:
    """The order of models in tables and of panels in figures."""
    return list(MODEL_NAMES).index(model) if model in MODEL_NAMES else len(MODEL_NAMES)


def constraint_rank(name: str) -> int:
    """The order of constraints in tables and legends."""
    return list(CONSTRAINTS).index(name) if name in CONSTRAINTS else len(CONSTRAINTS)


def own_constraints(names: Container[str]) -> str:
    """A note on those of this project; empty where there is none."""
    ours = [f"{CONSTRAINTS[name]} ({meaning})" for name, meaning in MEANINGS.items() if name in names]
    return f"conditions of this project, with their limit on λ: {', '.join(ours)}" if ours else ""
