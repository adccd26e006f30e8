"""The search: halving as a pure function, trials that pause and go on, winners that compose."""

import itertools
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, SMALL
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from test_report import record
from test_training import comparable, folder

from stablernn.config.compose import CONFIG_FOLDER, compose
from stablernn.config.identity import run_id
from stablernn.config.validate import check
from stablernn.experiments import search as search_module
from stablernn.experiments.grids import in_grids, winner_file, winner_settings
from stablernn.experiments.parts import SearchPart, text_of
from stablernn.experiments.reproduce import reproduce
from stablernn.experiments.search import (
    Ranking,
    Search,
    Trial,
    _check_comparable,
    best_until,
    rungs,
    survivor_count,
    survivors,
)
from stablernn.experiments.sweep import expand, jobs_of, master
from stablernn.experiments.winners import winner_yaml, winners, write_winners
from stablernn.records.record import PAUSED_FILE, RECORD_FILE, read_record
from stablernn.report.load import TRIAL_FILE, load_trials
from stablernn.report.sections.search import outcomes, search_table, winner
from stablernn.report.slices import slices
from stablernn.training.run import run
from stablernn.utils.errors import ConfigurationError, StableRNNError

# Few values, so that ties are common; infinite: diverged.
PERPLEXITIES = st.sampled_from([1.0, 2.0, 3.0, math.inf])
STANDINGS = st.lists(
    st.builds(Ranking, PERPLEXITIES, st.integers(1, 3), st.uuids().map(str)), max_size=12, unique_by=lambda s: s.id
)
FACTORS = st.integers(2, 5)


@given(STANDINGS, FACTORS)
def test_one_in_factor_survives_rounded_up_and_nobody_who_diverged(standings, factor):
    finite = sum(math.isfinite(standing.cost) for standing in standings)
    assert len(survivors(standings, factor)) == min(-(-len(standings) // factor), finite)


@given(STANDINGS, FACTORS)
def test_no_one_who_was_left_behind_is_better_than_a_survivor(standings, factor):
    kept = survivors(standings, factor)
    left = [standing for standing in standings if standing.id not in kept]
    stayed = [standing for standing in standings if standing.id in kept]
    assert not left or not stayed or max(stayed) < min(left)
    assert kept == [standing.id for standing in sorted(standings) if standing.id in kept]


@given(STANDINGS, FACTORS, st.randoms())
def test_the_order_in_which_trials_are_told_does_not_matter(standings, factor, random):
    shuffled = random.sample(standings, len(standings))
    assert survivors(shuffled, factor) == survivors(standings, factor)


@given(
    st.lists(st.floats(1, 1e3), min_size=1, max_size=30, unique=True), st.integers(1, 5), FACTORS, st.integers(0, 30)
)
def test_where_nobody_overtakes_the_best_wins_with_little_training(final, first, factor, more):
    """Learning curves that do not cross: the winner is that of training everybody to the end."""
    epochs = rungs(first, factor, first + more)
    alive = [str(number) for number in range(len(final))]
    for epoch in epochs:
        count = len(alive)
        alive = survivors((Ranking(final[int(name)] + 1e4 / epoch, 1, name) for name in alive), factor)
        assert len(alive) == survivor_count(count, factor)
    assert alive[0] == str(final.index(min(final)))


@given(st.integers(1, 10), FACTORS, st.integers(1, 200))
def test_rungs_grow_by_the_factor_and_end_with_the_whole_run(first, factor, last):
    found = rungs(first, factor, last)
    assert found[-1] == last
    assert all(after == factor * before for before, after in itertools.pairwise(found[:-1]))
    assert all(before < after <= factor * before for before, after in itertools.pairwise(found))
    assert found[0] == min(first, last)


def test_what_a_trial_did_after_a_rung_does_not_count_there():
    history = [
        {"update": 5, "train": 1.0},
        {"epoch": 1.0, "valid": 9.0},
        {"epoch": 2.0, "valid": 7.0},
        {"epoch": 3.0, "valid": 8.0},
    ]
    assert [best_until(history, epoch) for epoch in (0, 1, 2, 3, 9)] == [math.inf, 9, 7, 7, 7]
    assert [best_until(history, epoch, diverged=True) for epoch in (1, 3, 4)] == [9, 7, math.inf]
    assert best_until([{"epoch": 1.0, "valid": None}], 1) == math.inf


GRIDS = {
    "rnn": {"model": "rnn", "optimizer.lr": "1,3"},
    "lstm": {"model": "lstm", "optimizer.lr": "5,20", "model.tied": "false"},
    "tied": {"model": "lstm", "optimizer.lr": 20, "model.tied": "true"},
}


def test_grids_are_the_union_of_their_products_and_arguments_win():
    assert len(in_grids(GRIDS, [])) == 5
    assert in_grids(GRIDS, ["model=rnn", "seed=1,2"]) == [
        ["model=rnn", f"optimizer.lr={lr}", f"seed={seed}"] for lr in (1, 3) for seed in (1, 2)
    ]
    assert in_grids(GRIDS, ["optimizer.lr=7", "model=lstm"]) == [
        ["model=lstm", "optimizer.lr=7", f"model.tied={tied}"] for tied in (False, True)
    ]
    assert len(in_grids(GRIDS, ["model=rnn,lstm"])) == 5
    several = {"both": {"model": "rnn,lstm", "optimizer.lr": "1"}}
    assert in_grids(several, [], lambda model: {"model.dropout": {"rnn": 0.1, "lstm": 0.3}[model]}) == [
        ["model.dropout=0.1", "model=rnn", "optimizer.lr=1"],
        ["model.dropout=0.3", "model=lstm", "optimizer.lr=1"],
    ]
    assert in_grids(several, ["model=lstm"]) == [["model=lstm", "optimizer.lr=1"]]
    assert in_grids(
        GRIDS, ["model=rnn", "optimizer.lr=7"], lambda model: {"model.dropout": 0.5, "optimizer.lr": 9}
    ) == [["model.dropout=0.5", "optimizer.lr=7", "model=rnn"]]


def test_a_grid_with_options_of_a_constraint_is_left_out_where_another_constraint_is_chosen():
    limited = {"model": "lstm", "stability": "stable,gated", "stability.constraint.limit": "0.7"}
    grids = {"all": {"model": "lstm", "stability": "unstable,gated"}, "limited": limited}
    assert in_grids(grids, ["stability=unstable"]) == [["model=lstm", "stability=unstable"]]
    alone = ["model=lstm", "stability=gated", "stability.constraint.limit=0.7"]
    assert in_grids(grids, ["stability=unstable,gated"])[2:] == [alone], "of its own constraints the chosen one alone"
    with pytest.raises(ConfigurationError, match="options of stability=stable,gated: choose of these"):
        in_grids({"limited": limited}, ["stability=unstable"])


def test_a_constraint_chooses_the_grids_of_a_model_that_have_it():
    grids = {
        "kept": {"model": "orthogonal", "stability": "polar", "optimizer.lr": 3},
        "free": {"model": "orthogonal", "optimizer.lr": 1},
        "other": {"model": "lstm", "optimizer.lr": 5},
    }
    for constraint, lr in (("polar", 3), ("unstable", 1)):
        runs = in_grids(grids, ["model=orthogonal", f"stability={constraint}"])
        assert [("optimizer.lr=" + str(lr) in run, f"stability={constraint}" in run) for run in runs] == [(True, True)]
    assert len(in_grids(grids, ["model=orthogonal", "stability=singular"])) == 2, "of none of them: each takes it"
    assert in_grids(grids, ["model=lstm", "stability=polar"]) == [["model=lstm", "optimizer.lr=5", "stability=polar"]]


@pytest.mark.parametrize("name", ["table1_jsb", "atlas_copy"])
def test_the_unconstrained_models_of_a_table_can_be_chosen_alone(name):
    configs = expand([f"experiment={name}", "stability=unstable", "seed=0"])
    assert {config.stability.name for config in configs} == {"unstable"}


@pytest.mark.parametrize("argument", ["dataset=ptb,wikitext2", "profile=smoke,quick", "model=gru"])
def test_grids_refuse_what_would_mix_texts_or_is_in_none_of_them(argument):
    with pytest.raises(ConfigurationError, match=argument):
        in_grids(GRIDS, [argument])


@pytest.mark.parametrize("option", ["seed", "stability.name", "truncation.k", "training.epochs", "profile.name"])
def test_a_search_refuses_to_pick_by_anything_but_what_is_searched(option):
    trials = [Trial((), OmegaConf.create({"optimizer": {"lr": lr}, "model": {"name": "rnn"}})) for lr in (1, 2)]
    _check_comparable(trials)
    for number, trial in enumerate(trials):
        OmegaConf.update(trial.config, option, number)
    with pytest.raises(ConfigurationError, match=f"{option.split('.name')[0]} is swept"):
        _check_comparable(trials)


@pytest.mark.parametrize("profile", ["smoke", "quick", "cpu", "paper"])
def test_the_grids_of_every_profile_are_of_both_models_and_those_of_paper_are_the_protocol(profile):
    """DESIGN, section 3; the smaller profiles have sizes of their own."""
    config = master(["experiment=search", f"profile={profile}"])
    assert (config.stability.name, config.approximation.name) == ("unstable", "recurrent")
    table = ["experiment=table1", f"profile={profile}"]
    seeds = {dict(o.split("=") for o in job)["seed"] for job in jobs_of(master(table), table, lambda model: {})}
    assert len(seeds) >= 3
    assert str(config.seed) not in seeds, "what the winner owes to its seed is no part of the table"
    jobs = jobs_of(config, [])
    assert len({tuple(sorted(job)) for job in jobs}) == len(jobs)
    found = {model: [dict(o.split("=") for o in job) for job in jobs if f"model={model}" in job] for model in MODELS}
    assert all(len(trials) >= 2 for trials in found.values())
    if profile != "paper":
        return
    assert rungs(config.hydra.sweeper.first, config.hydra.sweeper.factor, config.training.epochs) == [3, 9, 27, 40]
    for model, limits in MODELS.items():
        default = compose("train", [f"model={model}", "profile=paper"])
        for trial in found[model]:
            for option, (low, high) in limits.items():
                assert low <= float(trial.get(option, OmegaConf.select(default, option))) <= high
            if "model.tied" in trial:
                assert trial["model.hidden_size"] == trial["model.embedding_size"]
        assert {"model.tied" in trial for trial in found[model]} == {True, False}


MODELS = {
    "rnn": {
        "model.hidden_size": (256, 650),
        "model.embedding_size": (256, 1024),
        "model.dropout": (0.25, 0.25),
        "optimizer.lr": (1, 5),
        "training.clip": (0.25, 0.25),
    },
    "lstm": {
        "model.hidden_size": (650, 1024),
        "model.embedding_size": (512, 650),
        "model.dropout": (0.5, 0.65),
        "optimizer.lr": (20, 20),
        "training.clip": (0.25, 1),
    },
}


def test_a_paused_run_goes_on_as_if_it_had_never_paused(small, tmp_path):
    options = ["training.epochs=4", "model.dropout=0.3", "training.log_every=3"]
    whole = run(small(*options, f"runs={tmp_path / 'whole'}"))
    config = small(*options)
    paused = run(small(*options, "training.pause_after=2"))
    assert (paused.status, paused.progress["epochs"]) == ("paused", 2.0)
    assert set(paused.metrics) == {"valid"}, "a trial that is left behind is never scored on test"
    assert not (folder(config) / RECORD_FILE).exists()
    before = (folder(config) / PAUSED_FILE).stat().st_mtime_ns
    assert run(small(*options, "training.pause_after=1")) == paused, "it is further than that already"
    assert (folder(config) / PAUSED_FILE).stat().st_mtime_ns == before
    text = (folder(config) / PAUSED_FILE).read_text()
    (folder(config) / PAUSED_FILE).write_text(text.replace('"status": "paused"', '"status": "finished"'))
    again = run(small(*options, "training.pause_after=2"))
    assert comparable(again) == comparable(paused), "a damaged one is made again, without training"
    assert run(small(*options, "training.pause_after=3")).progress["epochs"] == 3.0
    assert comparable(run(config)) == comparable(whole)
    assert not (folder(config) / PAUSED_FILE).exists()
    assert run(small(*options, "training.pause_after=1")).status == "finished"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Search:
    """Four trials of an RNN, one of which diverges; two go on after the first of two epochs. Carried out."""
    small = [option for option in SMALL if not option.startswith("profile=")]
    searched = ["model=rnn", "optimizer.lr=0.5,1,3,1e38", "model.dropout=0", "training.clip=1e38"]
    runs = tmp_path_factory.mktemp("search") / "whole"
    search = Search.of_command(["experiment=search", "profile=smoke", *small, *searched, f"runs={runs}"])
    launched = []

    def launch(configs, jobs):
        launched.append([config.training.pause_after for config in configs])
        for config, job in zip(configs, jobs, strict=True):
            assert f"training.pause_after={config.training.pause_after or 'null'}" in job
            run(config)

    search.run(launch)
    assert launched == [[1, 1, 1, 1], [None, None]]
    job = search.trials[0].until(1).overrides
    assert run_id(compose("train", list(job))) == search.trials[0].id, "a paused run is the run itself"
    return search


def elsewhere(search: Search, runs: Path, trials: slice = slice(None)) -> Search:
    """The same search (or some of its trials) in another folder, where nothing was done yet."""
    copies = tuple(Trial(trial.overrides, trial.config.copy()) for trial in search.trials[trials])
    for trial in copies:
        trial.config.runs = str(runs)
    return replace(search, trials=copies)


class Killed(Exception):
    pass


def test_a_search_that_is_killed_at_every_rung_has_the_same_winner_and_every_trial_once(whole, tmp_path):
    statuses = sorted(record.status for record in whole.records())
    assert statuses == ["diverged", "finished", "finished", "paused"]
    (best,) = whole.winners().values()
    finished = [record for record in whole.records() if record.status == "finished"]
    assert best.metrics["valid"]["value"] == min(r.metrics["valid"]["value"] for r in finished)

    again = elsewhere(whole, tmp_path)
    for allowed in (1, 4):  # at the first rung, and one trial into the second

        def dying(configs, jobs, left=[allowed]):  # noqa: B006 (a fresh list for each definition)
            for config in configs:
                if not left[0]:
                    raise Killed
                left[0] -= 1
                run(config)

        with pytest.raises(Killed):
            again.run(dying)
        with pytest.raises(ConfigurationError, match="the search is not over"):
            again.winners()
    left = []
    again.run(lambda configs, jobs: left.extend(run(config) for config in configs))
    assert len(left) == 1, "what was done before is not launched again"
    assert [comparable(record) for record in again.records()] == [comparable(record) for record in whole.records()]
    assert comparable(again.winners()["rnn"]) == comparable(best)
    again.run(lambda configs, jobs: pytest.fail("trained twice"))


def test_the_winner_is_written_as_an_experiment_that_is_its_run(whole, tmp_path):
    (best,) = whole.winners().values()
    write_winners(whole, str(tmp_path / "best"), str(tmp_path / "results"))
    path = winner_file(tmp_path / "best", "embedded", "rnn", "smoke")
    assert str(tmp_path) not in path.read_text()
    group = tmp_path / "conf" / "experiment" / "best"
    group.mkdir(parents=True)
    shutil.copyfile(path, group / "of_a_test.yaml")
    searched = [f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "experiment=best/of_a_test"]
    config = compose("train", [*searched, f"seed={best.config['seed']}"])
    assert run_id(config) == best.id

    table = (tmp_path / "results" / "tables" / "search_embedded_smoke.csv").read_text()
    assert [table.count(word) for word in (",winner,", ",stopped,", ",diverged,")] == [1, 1, 1]
    rows = table.splitlines()[1:]
    assert sorted(row.rpartition(",")[2] for row in rows) == sorted(trial.id for trial in whole.trials)
    (part,) = slices(whole.records())
    assert winner(part.records) == best
    assert search_table(part).lines[0][2] == "winner"
    assert "test" not in part.records[-1].metrics or part.records[-1].status != "paused"


def test_trials_of_a_search_that_was_broken_off_lost_to_none(whole):
    """Only one that ended at an earlier rung than others was stopped."""
    paused = next(record for record in whole.records() if record.status == "paused")
    early, late, later = (
        replace(paused, id=f"{paused.id}-{name}", progress=paused.progress | {"epochs": epochs})
        for name, epochs in (("a", 1.0), ("b", 2.0), ("c", 2.0))
    )
    assert [outcomes([early, late, later])[each.id] for each in (early, late, later)] == [
        "stopped",
        "search broken off",
        "search broken off",
    ]
    (part,) = slices([early, late, later])
    assert any(note.startswith("search broken off") for note in search_table(part).notes)
    won = replace(late, status="finished")
    assert set(outcomes([early, won, later]).values()) == {"stopped", "winner"}


def test_a_search_in_which_everybody_diverges_says_so_and_names_no_winner(whole, tmp_path):
    search = elsewhere(whole, tmp_path, slice(3, 4))
    search.run(lambda configs, jobs: [run(config) for config in configs])
    with pytest.raises(StableRNNError, match="every trial of rnn diverged"):
        write_winners(search, str(tmp_path / "best"), str(tmp_path / "results"))
    assert not (tmp_path / "best").exists()


def test_a_trial_that_is_left_out_ends_the_search_with_an_error(whole, tmp_path):
    search = elsewhere(whole, tmp_path)
    with pytest.raises(StableRNNError, match="did not finish"):
        search.run(lambda configs, jobs: [run(config) for config in configs[:1]])
    assert len(search.records()) == 1


def test_of_equal_trials_the_smaller_wins_then_the_one_whose_id_comes_first():
    assert survivors([Ranking(5.0, 9, "a"), Ranking(5.0, 3, "c"), Ranking(5.0, 3, "b")], 3) == ["b"]


def test_a_trial_that_diverged_after_its_last_validation_cannot_win(whole, tmp_path):
    search = elsewhere(whole, tmp_path)
    (best,) = whole.winners().values()
    shutil.copytree(whole.trials[0].config.runs, tmp_path, dirs_exist_ok=True)
    replace(best, status="diverged").write(tmp_path / best.id)
    assert search.winners()["rnn"].id != best.id
    (part,) = slices(search.records())
    assert winner(part.records) == search.winners()["rnn"]


COMMITTED = sorted((CONFIG_FOLDER / "experiment" / "best").glob("*.yaml"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_winner_composes_under_every_seed_and_the_constraint_that_it_names(path):
    text = path.read_text(encoding="utf-8")
    dataset, model, profile = re.fullmatch(r"([^_]+)_(\w+)_([^_]+)", path.stem).groups()
    constraint = ["stability=stable"] if (CONFIG_FOLDER / "stability" / "stable" / f"{model}.yaml").is_file() else []
    assert all(f"experiment=best/{path.stem} {each}\n" in text for each in constraint)
    assert ("stability=" in text) == bool(constraint)
    config = compose("train", [f"experiment=best/{path.stem}", *constraint, "seed=2"])
    check(config)
    (seed,) = re.findall(r"-s(\d+)-\w+\. Found by", text)
    found = compose("train", [f"experiment=best/{path.stem}", f"seed={seed}"])
    assert f", run {run_id(found)}. Found by" in text
    assert (config.dataset.name, config.model.name, config.profile.name) == (dataset, model, profile)
    settings = {option: None if value == "null" else value for option, value in winner_settings(path).items()}
    assert all(OmegaConf.select(config, option) == value for option, value in settings.items())


def test_the_table_retrains_the_winners_and_tunes_nothing(tmp_path, small):
    for model, lr in (("rnn", 0.7), ("lstm", 7)):
        record = run(small(f"model={model}", f"optimizer.lr={lr}", "model.dropout=0.1"))
        path = winner_file(tmp_path, "embedded", model, "smoke")
        path.write_text(winner_yaml(record, 3, ["experiment=search"], tmp_path))
    command = ["experiment=table1", "profile=smoke", f"hydra.sweeper.winners={tmp_path}"]
    table = expand([*command, "seed=0"])
    cells = {(c.model.name, c.stability.name, c.optimizer.lr, c.model.hidden_size, c.model.dropout) for c in table}
    assert cells == {("rnn", s, 0.7, 8, 0.1) for s in ("unstable", "stable", "rnn_as_coded")} | {
        ("lstm", s, 7, 8, 0.1)
        for s in (
            "unstable",
            "stable",
            "lstm_as_coded",
            "lstm_comparison",
            "lstm_rowwise",
            "lstm_gated_linear",
            "lstm_output_gate",
            "lstm_cascade",
        )
    }
    assert len(table) == len({run_id(config) for config in table}) == len(cells)
    assert len(jobs_of(master(command), command)) == 3 * len(cells)
    with pytest.raises(ConfigurationError, match=r"search first, .* experiment=search profile=smoke dataset=ptb"):
        expand(["experiment=table1", "profile=smoke", "dataset=ptb", f"hydra.sweeper.winners={tmp_path}"])


@pytest.mark.slow
def test_a_search_through_joblib_killed_twice_and_run_again(tmp_path):
    """Kill -9 of the whole process group, at a rung and at the next: the third command writes the winners."""

    def command(name: str) -> list[str]:
        options = ["-m", "experiment=search", "profile=smoke", "tracking=none", "training.epochs=6", f"runs={name}"]
        where = [f"hydra.sweeper.winners={name}/best", f"hydra.sweeper.results={name}/results"]
        joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
        return [sys.executable, str(ROOT / "scripts" / "train.py"), *options, *where, *joblib]

    runs = tmp_path / "killed"
    for paused in (2, 11):
        process = subprocess.Popen(command("killed"), cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 300
        while _progress(runs) < paused:
            assert process.poll() is None, "the search was over before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (runs / "best").exists()
    for name in ("killed", "whole"):
        answer = subprocess.run(command(name), cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        assert answer.returncode == 0, answer.stderr
        assert "winners written: " in answer.stderr
    tables = [
        (tmp_path / name / "results" / "tables" / "search_embedded_smoke.csv").read_text()
        for name in ("killed", "whole")
    ]
    assert tables[0] == tables[1]
    ids = [line.rpartition(",")[2] for line in tables[0].splitlines()[1:]]
    assert len(ids) == len(set(ids)) == 10
    assert sorted(path.name for path in runs.glob("embedded-*")) == sorted(ids)
    for path in (runs / "best").iterdir():
        assert path.read_text() == (tmp_path / "whole" / "best" / path.name).read_text()
    threads = {read_record(path.parent).hardware["threads"] for path in runs.glob("*/record.json")}
    assert threads == {max(1, len(os.sched_getaffinity(0)) // 2)}


def _progress(runs: Path) -> int:
    """Steps of the search that are done: 10 at the first rung (epoch 1), and more."""
    histories = [path.read_text().count('"valid"') for path in runs.glob("*/history.jsonl")]
    return sum(histories)


def test_what_a_search_still_costs_is_bounded_by_its_slowest_trials(whole, tmp_path):
    """Four trials of 2 epochs, of which two go on after the first: 4 · 1 + 2 · 1 epochs of 8."""
    search = elsewhere(whole, tmp_path)
    seconds = {trial.id: float(number + 1) for number, trial in enumerate(search.trials)}
    assert search.share_left(seconds) == (1 + 2 + 3 + 4) / 2 + (3 + 4) / 2
    run(search.trials[1].until(1).config)
    assert search.share_left(seconds) == (1 + 3 + 4) / 2 + (3 + 4) / 2
    assert whole.share_left(seconds) == 0


def test_winners_of_a_search_that_is_not_over_are_refused_with_the_command_that_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(search_module, "jobs_of", lambda *_: [["model=rnn", f"runs={tmp_path}"]])
    with pytest.raises(ConfigurationError, match=r"not over .* -m experiment=search profile=quick dataset=embedded"):
        winners(compose("reproduce/winners", [f"runs={tmp_path}"]))


@pytest.mark.slow
def test_reproduce_searches_retrains_the_winners_and_does_nothing_the_second_time(tmp_path, capfd):
    where = [f"{name}={tmp_path / name}" for name in ("runs", "results", "winners")]
    options = compose("reproduce/plan", ["study=table1", "profile=smoke", "readme=null", *where])
    reproduce(options)
    told = capfd.readouterr().err
    assert "43 runs to do" in told or "43 runs" in told.replace("\n", " ")
    table = (tmp_path / "results" / "tables" / "table1.md").read_text()
    assert "hyperparameters of the search" in table
    assert table.count(" | 3 | ") == 11
    price = (tmp_path / "results" / "tables" / "price_of_stability.md").read_text()
    assert all(name in price for name in ("as stated", "as coded", "scalar", "row-wise"))
    (part,) = slices(load_trials(tmp_path / "results" / "records"))
    assert len(part.records) == 10
    reproduce(options)
    assert "nothing to train" in capfd.readouterr().err


def test_what_stands_for_a_winner_trains_as_long_as_the_search_does():
    """The plan's estimate would otherwise be that of the profile's few epochs."""
    lstm = Search.of_command(["experiment=search_jsb"]).largest()["lstm"]
    assert (lstm["training.epochs"], lstm["training.early_stop"]) == (150, 25)


def test_a_published_search_makes_room_for_its_own_models_alone(tmp_path):
    lstm, rnn, gru = (record(90.0, model=model) for model in ("lstm", "rnn", "gru"))
    for old in (lstm, rnn):
        old.write_alone(tmp_path / old.id / TRIAL_FILE)
    search = SimpleNamespace(by_model=lambda: {"gru": [], "rnn": []}, records=lambda: [gru])
    SearchPart.publish(SimpleNamespace(search=search, texts=lambda: {text_of(gru.config["dataset"])}), tmp_path)
    assert {trial.id for trial in load_trials(tmp_path)} == {lstm.id, gru.id}
