"""The experiments of feed-forward peers: each run has as many parameters as the LSTM that it stands beside."""

import pytest

from stablernn.config.compose import compose, compose_all
from stablernn.experiments.grids import in_grids
from stablernn.tasks.base import Interface
from stablernn.training.build import build

# Interface, and the parameters of the LSTM as its records have them.
EXPERIMENTS = {
    "peers_ptb": (Interface.of_words(10_000), 4_331_600),
    "peers_ptb_char": (Interface.of_words(50), 345_778),
    "lstm_ngram_ptb": (Interface.of_words(10_000), 4_331_600),
}


def jobs(experiment):
    chosen = compose("train", [f"experiment={experiment}"], with_hydra=True)
    return compose_all(
        "train", [[f"experiment={experiment}", *job] for job in in_grids(chosen.hydra.sweeper.grids, ["seed=0"])]
    )


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_parameters_are_matched_and_outputs_see_k_inputs(experiment):
    interface, parameters = EXPERIMENTS[experiment]
    configs = jobs(experiment)
    assert len(configs) >= 4
    for config in configs:
        model, _ = build(config, interface)
        assert model.size() == pytest.approx(parameters, rel=0.1), config.model.name
        assert model.backbone.receptive_field == config.truncation.k
        assert config.experiment_name == experiment


def test_the_lstm_of_n_grams_is_that_of_the_table_but_for_what_it_sees():
    table = compose("train", ["experiment=table1_ptb", "model=lstm"])
    for config in jobs("lstm_ngram_ptb"):
        assert (config.model, config.optimizer) == (table.model, table.optimizer)
        assert config.training == table.training
        assert config.dataset == table.dataset
