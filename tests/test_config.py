"""Configurations: every file composes, every mistake is one line, the id is what changes the result."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import pytest
import torch
from conftest import ROOT, SMALL
from faults.children import script
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from stablernn.benchmarks.suite import Benchmarks
from stablernn.commands.analyze import analyze
from stablernn.commands.start import COMMANDS
from stablernn.config.compose import CONFIG_FOLDER, compose, compose_all
from stablernn.config.identity import digest, identity, run_id
from stablernn.config.instantiate import make
from stablernn.config.options import OPTIONS
from stablernn.config.signatures import as_taken, hints
from stablernn.config.targets import ALIASES, alias, find_target
from stablernn.config.validate import check, check_known
from stablernn.experiments.command_line import _of_swept_choices
from stablernn.experiments.grids import winner_file
from stablernn.experiments.parts import SearchPart
from stablernn.experiments.reproduce import studies_of
from stablernn.experiments.sweep import expand
from stablernn.models import sequence_model
from stablernn.models.cells import lstm
from stablernn.models.cells.lstm import LSTMCell
from stablernn.report.load import ATLAS, PATTERNS, STUDIES
from stablernn.stability.constraints.base import Constraint
from stablernn.training.build import build, pick_device
from stablernn.training.run import run
from stablernn.utils.errors import ConfigurationError

GROUPS = [
    f"{path.parent.relative_to(CONFIG_FOLDER)}={path.stem}"
    for group in ("dataset", "model", "head", "stability", "approximation", "optimizer", "tracking", "profile")
    for path in sorted((CONFIG_FOLDER / group).glob("*.yaml"))
]
CPU = ["profile=cpu", "dataset=wikitext2", "training.epochs=1", "training.evaluate_every=995"]
EXPERIMENTS = [path.stem for path in sorted((CONFIG_FOLDER / "experiment").glob("*.yaml"))]


# Only what stability means depends on the model.
CHOICES = [
    (choice, model) for choice in GROUPS for model in ("lstm", "rnn") if model == "lstm" or "stability" in choice
]


@pytest.mark.parametrize(("choice", "model"), CHOICES)
def test_every_choice_composes_and_instantiates(choice, model):
    own = ["dataset.name=own", "dataset.path=somewhere"] if choice.endswith("_folder") else []
    config = compose("train", [f"model={model}", choice, *own])
    check(config)
    made = (config.dataset, config.stability.constraint, config.tracking, config.optimizer)
    for node in (*made, config.model.cell or config.model.backbone, config.head.softmax):
        make(node)


def test_several_threads_compose_at_once():
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda seed: compose("train", [f"seed={seed}"]), range(8)))
    assert [config.seed for config in made] == list(range(8))


_DONE: set[tuple[str, ...]] = set()  # what a run is made of, as experiments differ more in how much than in what


# Those of larger profiles and of the atlas are composed and checked by their plans, below, of the same parts.
ALIKE = ("_paper", "_cpu", "atlas_copy", "atlas_selectivity", "atlas_jsb", "atlas_ptb_char")
SMOKED = [pytest.param(name, marks=[pytest.mark.slow] if name.endswith(ALIKE) else []) for name in EXPERIMENTS]


@pytest.mark.parametrize("experiment", SMOKED)
def test_every_experiment_runs_at_smoke(experiment, tmp_path):
    data = ["dataset=embedded"]
    # Some ask for a source and a target, or set options of a data set of their own.
    if experiment == "sequence_to_sequence" or experiment.endswith("_selectivity"):
        data = []
    if experiment.startswith("both_directions"):  # they are for whole sequences
        for part in ("train", "test"):
            (tmp_path / f"{part}.iob").write_text("to boston\tO B-to\n" * 9)
        data = ["dataset=slot_folder", "dataset.name=mine", f"dataset.path={tmp_path}"]
    shrunk = [*SMALL, *data, "training.max_updates=2", "seed=0", "model.dropout=0", f"runs={tmp_path}"]
    if data and not experiment.startswith(("peers", "lstm_ngram")):  # they are swept over k, or can see only some
        shrunk.append("truncation.k=3")
    chosen = [f"experiment={experiment}", *(option for option in shrunk if option != "profile=smoke")]
    configs = expand(chosen, lambda model: {})  # winners of a search in their place
    assert len({run_id(config) for config in configs}) == len(configs) >= 3
    for number, config in enumerate(configs):
        check(config)
        parts = tuple(str(config[group].get("name")) for group in ("model", "head", "stability", "approximation"))
        if number == 0 or parts not in _DONE:
            assert run(config).status == "finished"
        _DONE.add(parts)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_names_the_command_that_runs_it(experiment):
    text = (CONFIG_FOLDER / "experiment" / f"{experiment}.yaml").read_text()
    assert f"stablernn train -m experiment={experiment}" in text


def test_the_plan_of_a_newcomer_is_music_slots_and_two_texts_with_three_seeds_where_it_decides(tmp_path):
    options = compose("reproduce/plan", [f"runs={tmp_path}"])
    (study,) = studies_of(options, "quick")
    cells = {part.data: [(c.model.name, c.stability.name, c.seed) for c in part.configs] for part in study.parts}
    assert [*cells] == ["jsb", "atis", "embedded", "wikitext2"]
    assert cells["jsb"] == cells["atis"] == [("lstm", kind, s) for kind in ("unstable", "stable") for s in (0, 1, 2)]
    assert {config.profile.name for part in study.parts[:2] for config in part.configs} == {"cpu"}, "to the end"
    assert len(cells["embedded"]) == len(cells["wikitext2"]) == 4


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["smoke", "quick", "cpu", "paper"])
def test_every_plan_of_reproduce_expands(profile, tmp_path):
    """Its runs can be made; at cpu and paper they are those of a search's winners, and it comes first."""
    where = [f"{name}={tmp_path / name}" for name in ("runs", "results", "winners")]
    one = 'overrides="seed=0 truncation.k=35"'  # of each; composing takes its time
    options = compose("reproduce/plan", ["study=all", one, *where])
    assert all(set(plans) == {"smoke", "quick", "cpu", "paper"} for plans in options.plans.values())
    if profile in ("smoke", "quick"):
        options.all.remove("table1")  # tests/test_search.py has it
    studies = {study.name: study for study in studies_of(options, profile)}
    assert [*studies] == options.all
    tasks = studies.pop("tasks")
    assert {config.profile.name for part in tasks.parts for config in part.configs} <= {profile, "cpu"}
    if profile in ("cpu", "paper"):
        first: dict[str, object] = {}
        for part in tasks.parts:
            first.setdefault(part.data, part)
        assert {*first} == {"jsb", "atis", "adding", "copy_memory", "ptb", "ptb_char", "wikitext2"}
        searched = {data for data, part in first.items() if isinstance(part, SearchPart)}
        assert searched == {"jsb", "atis", "wikitext2"}, "a search comes before whatever takes its winners"
    for study in studies.values():
        every = [config for part in study.parts for config in part.configs]
        assert {config.profile.name for config in every} == {profile}
        assert {config.model.name for config in every} == {"rnn", "lstm"}
        assert {config.stability.name for config in every} >= {"unstable"}
        for constraint in {str(config.stability.constraint): config.stability.constraint for config in every}.values():
            assert issubclass(type(make(constraint)), Constraint)
        if profile in ("cpu", "paper"):
            search, *sweeps = study.parts
            assert isinstance(search, SearchPart)
            assert search is studies["perplexity"].parts[0], "searched once"
            assert {config.dataset.name for config in every} == {"wikitext2"}
            for config in (config for part in sweeps for config in part.configs):
                # The largest trial stands for the winner while it is not known.
                sizes = {trial.config.model.hidden_size for trial in search.search.by_model()[config.model.name]}
                assert config.model.hidden_size == max(sizes)
    perplexity = studies["perplexity"]
    assert perplexity.linear
    assert {c.stability.name for part in perplexity.parts for c in part.configs} >= {"unstable", "stable"}
    plans = options.plans
    if profile in ("cpu", "paper"):
        assert all(entry in plans.perplexity[profile] for entry in plans.gradient_horizon[profile])
        return
    trained = {run_id(config): config.training.keep_every for part in perplexity.parts for config in part.configs}
    options.study, options.overrides = "gradient_horizon", f"{options.overrides} stability=unstable"
    (study,) = studies_of(options, profile)
    wanted = {run_id(config): config.training.keep_every for part in study.parts for config in part.configs}
    # The diagnostic's own runs, and as many weights kept, whichever of the two trains them.
    assert len(wanted) >= 2
    assert wanted.items() <= trained.items()


def test_plans_and_analyses_are_of_the_studies_that_a_report_knows():
    options = compose("reproduce/plan", [])
    assert set(options.plans) == set(options.analyses) == {*STUDIES, *options.published_with, "linear_systems"}
    assert (*options.all, ATLAS, PATTERNS) == STUDIES, "the last two are none of the study's"
    options.study = "everything"
    with pytest.raises(ConfigurationError, match="choose all, tasks, perplexity, table1"):
        studies_of(options, "smoke")


def test_a_misspelt_study_or_profile_is_answered_by_the_one_that_is_meant():
    options = compose("reproduce/plan", [])
    for study, profile, told in (
        ("tabel1", "smoke", r"study=tabel1 does not exist: choose all, .*, linear_systems; did you mean table1\?$"),
        ("linear_systems", "quik", r"profile=quik does not exist: choose auto, .*, paper; did you mean quick\?$"),
        ("everything", "smoke", "study=everything does not exist: choose all, .*, linear_systems$"),
        (7, "smoke", "study=7 does not exist: choose all, .*, linear_systems$"),
    ):
        options.study = study
        with pytest.raises(ConfigurationError, match=told):
            studies_of(options, profile)


def test_table_1_at_cpu_is_the_winners_and_the_price_of_stability_shares_its_runs(tmp_path):
    """Winners of a search that is over: their settings, three seeds a cell, and equal settings have one id."""
    own = {"rnn": ["optimizer.lr=5"], "lstm": ["training.clip=1"]}
    for model, settings in own.items():
        lines = [f"{group}: {{{name}: {value}}}" for group, name, value in (re.split("[.=]", s) for s in settings)]
        winner_file(tmp_path, "wikitext2", model, "cpu").write_text("\n".join(lines))
    winners = f"hydra.sweeper.winners={tmp_path}"
    fixed = [*CPU, "approximation=recurrent", "truncation.k=35", "stability=unstable"]
    cells = [[*fixed, f"model={model}", *own[model], f"seed={seed}"] for model in own for seed in (0, 1, 2)]
    expected = {run_id(config) for config in compose_all("train", cells)}
    table = expand(["experiment=table1", "profile=cpu", "dataset=wikitext2", winners, "stability=unstable"])
    assert {run_id(config) for config in table} == expected
    (price,) = expand(["experiment=price_of_stability_cpu", "model=lstm", "stability=unstable", winners])
    assert run_id(price) in expected
    limits = "stability.constraint.limit=0.5,0.9"
    swept = expand(["experiment=price_of_stability_cpu", "model=rnn", "stability=rnn_spectral", limits, winners])
    assert [(c.stability.constraint.limit, c.optimizer.lr, c.seed) for c in swept] == [(0.5, 5, 0), (0.9, 5, 0)]
    cell = ["model=rnn", "stability=stable", "truncation.k=5", "approximation=recurrent"]
    (curve,) = expand(["experiment=truncation_sweep_cpu", *cell, winners])
    assert (curve.training.evaluate_every, curve.approximation.window, curve.optimizer.lr) == (None, 5, 5)


def test_a_sweep_that_is_composed_at_once_is_what_its_runs_are_one_by_one():
    jobs = [
        ["model=rnn", "stability=stable", f"truncation.k={k}", f"stability.constraint.limit={limit}", *more]
        for k, limit in ((5, 0.5), (7, 0.9))
        for more in ([], ["dataset.max_tokens={valid: 7}", "tracking=none", "+optimizer.momentum=0.9"])
    ]
    jobs.append(["seed=3", "approximation.window=${truncation.k}", "hydra.sweeper=null", "model.tied=true"])
    together = compose_all("train", jobs)
    assert together == [compose("train", job) for job in jobs]
    together[0].model.hidden_size = 1
    assert together[2].model.hidden_size != 1, "one is changed, the others stay what they are"
    with pytest.raises(ConfigurationError, match=r"truncation\.k=three"):
        compose_all("train", [["truncation.k=5"], ["truncation.k=three"]])


def test_a_plan_of_a_diagnostic_is_that_of_the_gradients_with_an_analysis_of_its_own():
    options = compose("reproduce/plan", [])
    for diagnostic, home in options.published_with.items():
        assert options.plans[diagnostic] == options.plans.gradient_horizon
        (entry,) = options.analyses[diagnostic]
        assert entry.analysis == diagnostic
        assert entry in options.analyses[home]
    for profile, entries in options.plans.linear_systems.items():
        assert entries == [{"linear_systems": "smoke" if profile == "smoke" else "quick"}]


def test_every_analysis_that_a_plan_names_exists():
    for entries in compose("reproduce/plan", []).analyses.values():
        for entry in entries:
            options = compose("analyze", [f"analysis={entry.analysis}", *entry.get("options", [])])
            assert make(options.analysis).name == entry.analysis.replace("ngram", "truncation")  # another view of it
            assert callable(make(options.table))


def test_the_paper_profile_is_the_protocol():
    config = compose("train", ["profile=paper", "dataset=wikitext2"])
    assert (config.training.batch_size, config.approximation.window, config.training.annealing) == (20, 35, 4)
    assert config.training.epochs == 40
    assert all(limit is None for limit in config.dataset.max_tokens.values())


@functools.cache
def default_id() -> str:
    return run_id(compose("train", []))


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "truncation.k=7",
        "model.dropout=0.1",
        "optimizer.lr=3",
        "stability=stable",
        "training.epochs=3",
        "dataset.seed=9",
    ],
)
def test_what_changes_the_result_changes_the_id(override):
    assert run_id(compose("train", [override])) != default_id()


@pytest.mark.parametrize(
    "override",
    [
        "runs=elsewhere",
        "device=cpu",
        "threads=1",
        "tracking=none",
        "progress=false",
        "experiment_name=x",
        "training.log_every=7",
        "training.keep_every=2",
    ],
)
def test_what_does_not_change_the_result_does_not_change_the_id(override):
    assert run_id(compose("train", [override])) == default_id()


def test_a_whole_number_for_a_quantity_is_that_quantity():
    """3 and 3.0 make one run; the same id for both is what lets a sweep skip what is done."""
    config = compose("train", ["stability=lstm_spectral"])
    for option, whole in (
        ("optimizer.lr", 3),
        ("dataset.concentration", 1),
        ("stability.constraint.limit", 1),
        ("stability.constraint.forget_high", 1),  # float | None
        ("stability.constraint.shares", {"i": 1, "f": 0.2}),
    ):
        number = {key: float(value) for key, value in whole.items()} if isinstance(whole, dict) else float(whole)
        ids = []
        for value in (whole, number):
            OmegaConf.update(config, option, value, merge=False)
            ids.append(run_id(config))
        assert ids[0] == ids[1], option
    betas = hints(torch.optim.Adam)["betas"]  # (float | Tensor, float | Tensor)
    assert [type(beta) for beta in as_taken([0, 0.9], betas)] == [float, float]
    assert [type(as_taken(value, int | float)) for value in (3, 3.0, True)] == [int, float, bool]
    assert type(as_taken(True, float)) is bool


def test_what_is_counted_stays_a_whole_number():
    resolved = identity(compose("train", ["stability=lstm_rowwise", "stability.constraint.limit=1"]))
    counted = (resolved["truncation"]["k"], resolved["training"]["epochs"], resolved["model"]["hidden_size"])
    made = (resolved["stability"]["constraint"]["every"], resolved["dataset"]["types"], resolved["dataset"]["seed"])
    assert {type(number) for number in (*counted, *made)} == {int}
    assert {type(limit) for limit in resolved["dataset"]["max_tokens"].values()} == {int}
    assert type(resolved["stability"]["constraint"]["limit"]) is float
    assert type(resolved["model"]["tied"]) is bool


def test_a_target_that_is_refused_has_an_id_all_the_same():
    """The line that says which run of a sweep failed begins with it."""
    config = compose("train", ["dataset._target_=os.system"])
    assert run_id(config) != run_id(compose("train", []))


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["model=rnn", "stability=stable"], "embedded-rnn-stable-recurrent-k35-s0-11710dfa"),
        ([*CPU, "model=rnn"], "wikitext2-rnn-unstable-recurrent-k35-s0-814b99de"),
        ([*CPU, "model=lstm"], "wikitext2-lstm-unstable-recurrent-k35-s0-a5d8709f"),
        ([*CPU, "model=lstm", "training.clip=1"], "wikitext2-lstm-unstable-recurrent-k35-s0-d1beca39"),
    ],
)
def test_an_id_is_what_it_was(overrides, name):
    """Runs of months lie under these."""
    assert run_id(compose("train", overrides)) == name


def test_the_committed_records_lie_under_the_ids_of_their_configurations():
    paths = sorted((ROOT / "results" / "records").glob("*/*/*/record.json"))
    assert len(paths) > 100
    for path in paths:
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
        assert path.parent.name.endswith(f"-{digest(config)}")


def test_where_the_data_lie_does_not_change_the_id():
    ids = {run_id(compose("train", ["dataset=wikitext2", f"dataset.path={path}"])) for path in ("/a", "/b", "null")}
    assert len(ids) == 1


MODELS = "|".join(sorted(path.stem for path in (CONFIG_FOLDER / "model").glob("*.yaml")))
MISTAKES = [
    (
        ["model=clockwork", "stability=stable"],
        "no condition is known as stability=stable of model=clockwork: choose stability=clockwork_blocks, or say what",
    ),
    (["model=rnnn"], f"model=rnnn does not exist: choose model={MODELS}; did you mean rnn?"),
    (["truncation.kk=3"], "truncation.kk is not an option; did you mean truncation.k?"),
    (["truncation.k=three"], "truncation.k=three must be a whole number"),
    (["truncation.k=0"], "truncation.k=0 must be a whole number >= 1"),
    (["truncation.k=-5"], "truncation.k=-5 must be a whole number >= 1"),
    (["approximation=feedforward", "truncation.k=null"], "truncation.k is not set"),
    (["+nonsense=1"], "nonsense is not an option"),
    (["+truncation.nonsense=1"], "truncation.nonsense is not an option"),
    (["+stability.constraint.limit=1"], "Unconstrained takes no options"),
    (
        ["stability=stable", "stability.constraint.input_bound=wide"],
        "input_bound=wide is not of the type that it takes, float",
    ),
    (["model=narx", "model.cell.delays=2"], "model.cell.delays=2 is not of the type that it takes, Iterable[int]"),
    (["model=statistical", "model.cell.alphas=[a]"], "is not of the type that it takes, Sequence[float]"),
    (
        ["model=rnn", "stability=stable", "stability.constraint.limit=2"],
        "stability.constraint.limit=2 must lie in (0, 1)",
    ),
    (["model.dropout=1.0"], "model.dropout=1.0 must lie in [0, 1)"),
    (["optimizer.lr=-1"], "optimizer.lr=-1 must be a positive number"),
    (["optimizer.lr=fast"], "optimizer.lr=fast must be a positive number"),
    (["seed=-1"], "seed=-1 must lie in"),
    (["device=tpu"], "device=tpu is unknown"),
    (["model.tied=true", "model.hidden_size=7"], "model.tied=true needs"),
    (["dataset=wikitext2", "dataset.path=/nowhere"], "no such data in /nowhere"),
    (["dataset=wikitext2"], "the hub does not answer"),
    (["~seed"], "seed is not set: give it a value, as in seed=..."),
    (["~training"], "training is not set"),
    (["seed=${oc.env:NOTHING}"], "seed: KeyError raised while resolving interpolation"),
    (["dataset._target_=os.system"], "dataset._target_=os.system lies outside stablernn and torch.optim"),
    (["dataset.persistence=1.0"], "dataset.persistence=1.0 must lie in [0, 1)"),
]


@pytest.mark.parametrize(("overrides", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_is_a_configuration_or_data_error_that_says_so_and_leaves_nothing(overrides, message, tmp_path):
    from stablernn.utils.errors import StableRNNError

    with pytest.raises(StableRNNError) as caught:
        run(compose("train", ["tracking=none", f"runs={tmp_path / 'runs'}", *overrides]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_who_stops_reading_ends_the_script_in_silence(monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "scripts" / "status.py"), "--help"]
    answer = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(writer)
    assert (answer.returncode, answer.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    "overrides",
    [["model=rnnn"], ["dataset=wikitext2", "dataset.path=/nowhere"]],
    ids=["refused by Hydra", "refused by the run"],
)
def test_the_command_line_prints_one_line_exits_with_2_and_writes_nothing(overrides, tmp_path):
    answer = script("train", *overrides, cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_sweep_goes_on_after_a_run_that_cannot_be_made_and_skips_what_is_done(tmp_path):
    sweep = ["-m", *SMALL, "truncation.k=0,3,4", "training.max_updates=2", "runs=runs"]
    answer = script("train", *sweep, cwd=tmp_path)
    assert answer.returncode == 2
    assert "truncation.k=0 must be a whole number >= 1" in answer.stderr
    assert len(list(tmp_path.glob("runs/*/record.json"))) == 2
    again = script("train", *sweep[:-3], "truncation.k=3,4", *sweep[-2:], cwd=tmp_path)
    assert again.returncode == 0
    assert again.stderr.count("skipped") == 2


def test_several_runs_at_once_through_hydras_joblib_launcher(tmp_path):
    answer = script(
        "train",
        "-m",
        *SMALL,
        "training.max_updates=2",
        "seed=0,1,2",
        "runs=runs",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr
    assert len(list(tmp_path.glob("runs/*/record.json"))) == 3


def test_an_online_tracker_without_an_account_is_refused_before_it_can_ask(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="tracking=online needs an account"):
        run(compose("train", ["profile=smoke", "tracking=online", f"runs={tmp_path / 'runs'}"]))


def test_the_model_is_on_its_constraint_before_the_first_update():
    config = compose("train", [*SMALL, "stability=stable", "model=lstm", "model.hidden_size=64"])
    model, constraint = build(config, make(config.dataset).load().interface)
    norms = constraint.norms(model.cells[0])
    assert norms["‖W_z‖_∞"] <= 0.09
    assert model.inputs.weight.abs().max() <= 0.75


def test_the_resolved_configuration_has_no_open_ends():
    assert "${" not in OmegaConf.to_yaml(compose("train", ["approximation=feedforward"]), resolve=True)


SCRIPTS = {f"{name}.py": command.config for name, command in sorted(COMMANDS.items())}

KINDS = [
    ("report", "port=abc", "port=abc must be a whole number"),
    ("report", "serve=maybe", "serve=maybe must be true or false"),
    ("report", "port=null", "port=null must be given a value: it takes no null"),
    ("report", "~port", "port is not set: give it a value, as in port=..."),
    ("report", "+prot=1", "prot is not an option; did you mean port?"),
    ("status", "seconds=soon", "seconds=soon must be a number"),
    ("convert", "k=ten", "k=ten must be a whole number"),
    ("bench", "parts=step", "parts=step must be a list, as in [a,b]"),
    ("bench", "constraints=stable", "constraints=stable must be a mapping"),
    ("bench", "sequences=3", "sequences=3 must be a mapping"),
    ("bench", "sizes=[200,large]", "sizes=[200,large] must be a whole number"),
    ("bench", "k=[ten]", "k=[ten] must be a whole number"),
    ("bench", "sequences.longest=true", "sequences.longest=true must be a number"),
    ("reproduce/plan", "at_once=many", "at_once=many must be a whole number"),
]


@pytest.mark.parametrize(("config_name", "override", "message"), KINDS, ids=[override for _, override, _ in KINDS])
def test_an_option_of_another_type_is_refused(config_name, override, message):
    with pytest.raises(ConfigurationError) as caught:
        check_known(compose(config_name, [override]), OPTIONS[config_name])
    assert str(caught.value) == message


@pytest.mark.parametrize("config_name", sorted(set(SCRIPTS.values()) - {"train"}))
def test_every_command_has_typed_options_that_its_defaults_fill(config_name):
    check_known(compose(config_name, []), OPTIONS[config_name])


def test_no_option_of_a_command_has_the_name_of_a_group():
    """Hydra takes ``model=x`` for the file conf/model/x.yaml wherever there is such a folder."""
    groups = {path.name for path in CONFIG_FOLDER.iterdir() if path.is_dir()}
    for config_name, options in OPTIONS.items():
        if "/" not in config_name:  # those have a folder, and so groups, of their own
            assert {field.name for field in fields(options)} & groups <= {"analysis"}


def test_null_where_an_option_may_be_none_and_a_whole_number_for_a_fraction():
    config = compose("bench", ["k=[null]", "seconds=1", "sizes=[]"])
    assert (config["k"], config.seconds, config.sizes) == ([None], 1.0, [])


def test_a_script_checks_the_kind_of_its_options_before_it_does_anything(tmp_path):
    answer = script("report", "serve=maybe", f"results={tmp_path}", cwd=tmp_path)
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert answer.stderr.startswith("error: serve=maybe must be true or false")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "parts=[stepp]",
            "parts: stepp is unknown: choose of [step,sequences,curve,large,mechanisms,peers,jobs,traffic]",
        ),
        ("models=[lstn]", "models: lstn is unknown: choose of ["),
        ("sizes=[0]", "sizes: 0 must be a whole number >= 1"),
        ("k=[null,0]", "k: 0 must be a whole number >= 1"),
    ],
)
def test_what_a_benchmark_cannot_measure_is_refused_before_it_measures_anything(option, message, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        Benchmarks(compose("bench", [option, f"results={tmp_path}"]), torch.device("cpu"))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("script", "config_name"), SCRIPTS.items())
def test_help_says_what_a_script_does_and_how_it_is_called_in_the_columns_of_a_terminal(script, config_name):
    told = compose(config_name, [], with_hydra=True).hydra.help
    assert "powered by Hydra" not in told.header
    assert f"python scripts/{script}" in told.header
    assert f"conf/{config_name}.yaml" in told.header + told.template
    assert max(map(len, f"{told.header}\n{told.footer}".splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_starts_in_a_fresh_interpreter(name, tmp_path):
    """Others call it in a process that has imported everything before."""
    command = [sys.executable, str(ROOT / "scripts" / name), "--help"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"python scripts/{name}" in answer.stdout


@pytest.mark.parametrize(
    ("config_name", "options"),
    [
        ("report", {"records", "results", "readme", "serve"}),
        ("analyze", {"run", "analysis", "k_max", "fresh"}),
        ("convert", {"run", "epsilon", "k", "guarantee", "k_max"}),
        ("examine", {"weights", "data", "vocabulary", "level"}),
        ("generate", {"run", "decoding", "temperature", "k"}),
    ],
)
def test_help_explains_the_options_that_a_first_call_needs(config_name, options):
    header = compose(config_name, [], with_hydra=True).hydra.help.header
    explained = set(re.findall(r"^(\w+) {2,}\S", header, re.M))
    assert options - {"k_max"} <= explained
    assert options <= set(re.findall(r"\w+", header))


def test_the_help_of_reproduce_has_every_study_and_option():
    """It shows them in its own words, as the plans below them fill many screens."""
    plan = compose("reproduce/plan", [], with_hydra=True)
    told = set(re.findall(r"\w+", plan.hydra.help.header))
    options = {name for name in plan if name not in ("all", "plans", "analyses", "published_with", "hydra")}
    assert {*options, *plan.plans, *plan.plans.perplexity} <= told


def test_the_list_of_targets_fits_a_terminal():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert max(map(len, said.splitlines())) <= 80
    assert {*re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.M)} <= {*re.findall(r"make (\w+)", said)}


def test_a_class_that_moves_keeps_the_ids_of_its_runs(monkeypatch):
    """Runs know it by its alias: where it lies now they have the same id, and old records are still read."""
    known, new = "stablernn.models.cells.LSTMCell", "stablernn.models.sequence_model.LSTMCell"
    before = run_id(compose("train", ["model=lstm"]))
    here, old = (compose("train", ["model=lstm", f"model.cell._target_={path}"]) for path in (new, known))
    monkeypatch.setattr(sequence_model, "LSTMCell", LSTMCell, raising=False)
    assert run_id(here) != before, "without its alias it is another class"
    monkeypatch.setitem(ALIASES, known, new)
    monkeypatch.delattr(lstm, "LSTMCell")  # it has moved
    for config in (here, old):
        assert run_id(config) == before
        assert make(config.model.cell).func is LSTMCell
    assert old.model.cell._target_ == known, "a configuration stays as it is"


def test_an_alias_stands_for_one_class():
    assert len({find_target("option", known) for known in ALIASES}) == len(ALIASES)
    assert {alias(path) for path in ALIASES.values()} == set(ALIASES)


def test_an_infinite_learning_rate_is_refused():
    """Its record could not be read: JSON has no infinity."""
    with pytest.raises(ConfigurationError, match=r"optimizer\.lr=inf must be a positive number"):
        check(compose("train", ["model.learning_rate=inf"]))


@pytest.mark.parametrize("dataset", ["jsb", "nottingham", "musedata", "piano_midi", "atis"])
def test_a_data_set_of_sequences_trains_as_it_is_named(dataset):
    """By Adam and on whole sequences; what is asked for on the command line comes before."""
    config = compose("train", [f"dataset={dataset}"])
    assert (config.optimizer["_target_"], config.training.batch_size) == ("torch.optim.Adam", 8)
    assert config.truncation.k >= 100
    asked = compose("train", [f"dataset={dataset}", "optimizer=sgd", "truncation.k=7", "training.batch_size=3"])
    assert (asked.optimizer["_target_"], asked.truncation.k, asked.training.batch_size) == ("torch.optim.SGD", 7, 3)


def test_an_unknown_device_is_refused_by_every_command():
    with pytest.raises(ConfigurationError, match="device=gpu is unknown: choose auto, cpu"):
        pick_device("gpu")


def test_a_longest_context_is_refused_by_an_analysis_that_has_none(tmp_path):
    answer = script("analyze", "analysis=contraction", "k_max=3", cwd=tmp_path)
    assert answer.returncode == 2
    assert "k_max=3: analysis=contraction has no longest context to look at" in answer.stderr


@pytest.mark.parametrize("option", ["k_max", "analysis.k_max"])
def test_an_option_without_a_value_is_refused_by_the_name_that_was_given(option, tmp_path):
    options = compose("analyze", ["analysis=truncation", f"{option}=null", f"runs={tmp_path}"])
    with pytest.raises(ConfigurationError, match=rf"^{option}=null"):
        analyze(options)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("stability=stable,rnn_spectral", "stability.constraint.limit=0.9"), "write ++stability.constraint.limit=0.9"),
        (("stability=rnn_spectral", "stability.constraint.limit=0.9"), ""),
        (("model=rnn,lstm", "stability.constraint.limit=0.9"), ""),
    ],
)
def test_how_an_option_is_given_to_the_choices_of_a_sweep_is_said_where_they_are_swept(overrides, said):
    error = ConfigCompositionException("Could not override 'stability.constraint.limit'.")
    assert _of_swept_choices(error, overrides).endswith(said)
    assert bool(_of_swept_choices(error, overrides)) == bool(said)
