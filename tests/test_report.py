"""The report: tables, figures and what they may say, made from records alone."""

import copy
import math
import re
import sys

import pytest
import torch
from omegaconf import OmegaConf

from stablernn.analysis.runner import analyse
from stablernn.analysis.truncation import TruncationAnalysis
from stablernn.config.compose import compose
from stablernn.experiments.reproduce import Part, _on_dataset, reproduce
from stablernn.records.record import BLOCKS_FILE, Record, read_record
from stablernn.report.formats import comma_separated, markdown, rich_table
from stablernn.report.latex import latex
from stablernn.report.load import analyses_of, load_records, read_folder
from stablernn.report.sections.contraction import contraction_table
from stablernn.report.sections.perplexity import perplexity_table
from stablernn.report.sections.price import price_table
from stablernn.report.sections.sweep import sweep_curves, sweep_table
from stablernn.report.sections.truncation import (
    certified_context,
    measured_context,
    truncation_summary,
    truncation_table,
)
from stablernn.report.sections.weight_distance import weight_distance_table
from stablernn.report.slices import rows, slices
from stablernn.report.table import Column, Table
from stablernn.report.text import rate
from stablernn.report.write import print_report, write_report
from stablernn.tasks.published import PUBLISHED
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.console import console
from stablernn.utils.errors import ConfigurationError, DataError, MissingPackageError, RecordError, StableRNNError
from stablernn.utils.files import write_json

BASE = {
    "seed": 0,
    "truncation": {"k": 35},
    "dataset": {"name": "wikitext2", "max_tokens": {"train": None, "valid": None, "test": None}},
    "model": {"name": "lstm", "hidden_size": 200},
    "stability": {"name": "unstable", "constraint": {}},
    "approximation": {"name": "recurrent"},
    "profile": {"name": "paper"},
    "optimizer": {"lr": 20.0},
    "training": {"epochs": 2, "early_stop": 4},
}


def record(perplexity: float | None, **changes) -> Record:
    config = copy.deepcopy(BASE)
    data, optimal = changes.pop("data", "wikitext2"), changes.pop("optimal", None)
    config["dataset"]["name"] = data
    known: dict = {}
    if data in PUBLISHED:  # as a run on the published text records it
        config["dataset"] |= {"file_names": {}, "expected": PUBLISHED[data].expected}
        known = {"recognised": dict.fromkeys(("train", "valid", "test"), "text")}
    for option, value in changes.items():
        group, key = option.split("__") if "__" in option else (option, "name")
        if group == "seed":
            config["seed"] = value
        else:
            config[group][key] = value
    name = f"{data}-" + "-".join(f"{k}{v}" for k, v in sorted(changes.items()))
    score = {} if perplexity is None else {"value": perplexity, "total": 20 * math.log(perplexity), "count": 20}
    metrics: dict = {"test": dict(score), "valid": dict(score)} if score else {}
    if optimal:
        metrics["optimal"] = {"context": None, "test": optimal, "test_by_context": [optimal + 3, optimal + 1, optimal]}
    return Record(
        id=name,
        status="diverged" if perplexity is None else "finished",
        experiment="test",
        config=config,
        data={"name": data, "fingerprint": "f", "types": 9, "tokens": {"train": 90, "valid": 10, "test": 20}} | known,
        model={"parameters": 1234, "norms": []},
        metrics=metrics,
        progress={"updates": 10, "epochs": 2.0, "best_update": 10},
        speed={"seconds": 1.0, "train_tokens_per_second": 5.0},
        hardware={"device": "a processor", "threads": 2},
        versions={},
        commit="abc",
        finished_at="2026-01-01T00:00:00+00:00",
        history=[{"update": 5, "epoch": e, "valid": 100.0 / e, "train": 1.0, "lr": 1.0} for e in (1.0, 2.0)],
    )


def only_section(records):
    (section,) = slices(records)
    return section


def plain_table(heads, rows, notes=(), remarks=(), texts=2, title="t", **options) -> Table:
    """A table whose first columns are text."""
    columns = [Column(head, kind="text" if at < texts else "number") for at, head in enumerate(heads)]
    return Table(title, columns, rows, list(notes), list(remarks), **options)


@pytest.mark.parametrize(
    ("changes", "beside"),
    [
        ({}, True),
        ({"profile": "cpu"}, False),
        ({"profile": "quick"}, False),
        ({"data": "ptb"}, False),
        ({"data": "embedded", "optimal": 40.0}, False),
        ({"dataset__max_tokens": {"train": None, "valid": None, "test": 50}}, False),
    ],
)
def test_published_numbers_stand_only_beside_whole_wikitext_2_at_the_papers_protocol(changes, beside):
    section = only_section([record(90.0, **changes)])
    shown = perplexity_table(section)
    assert ("published" in shown.heads) == beside
    for text in (markdown(shown), latex(shown), comma_separated(shown)):
        assert ("92.3" in text) == beside


def test_published_numbers_are_of_recurrent_models_only():
    shown = perplexity_table(only_section([record(90.0), record(91.0, approximation="feedforward")]))
    assert [line[shown.heads.index("published")] for line in shown.lines] == ["92.3", "–"]


def test_the_optimum_has_its_column_and_a_cut_corpus_says_so():
    shown = perplexity_table(only_section([record(44.0, data="embedded", optimal=40.1)]))
    assert shown.lines[0][shown.heads.index("optimum")] == "40.1"
    cut = record(44.0, dataset__max_tokens={"train": None, "valid": None, "test": 20})
    assert "only the first 20 test tokens" in perplexity_table(only_section([cut])).title


def test_runs_with_other_settings_are_not_averaged_but_named():
    section = only_section([record(90.0), record(80.0, model__hidden_size=650)])
    assert [(row.note, row.cells["unstable"].values) for row in rows(section)] == [
        ("model.hidden_size=200", [90.0]),
        ("model.hidden_size=650", [80.0]),
    ]


def test_texts_and_profiles_are_never_mixed_in_a_table():
    records = [record(90.0), record(1.0, data="embedded", optimal=0.9), record(2.0, profile="quick")]
    expected = [("paper", "wikitext2"), ("paper", "embedded"), ("quick", "wikitext2")]
    assert [(section.profile, section.data) for section in slices(records)] == expected


def test_records_survive_the_disk_and_the_report_is_the_same_to_the_byte(tmp_path):
    records = [
        record(44.0, data="embedded", optimal=40.0),
        record(45.0, data="embedded", optimal=40.0, approximation="feedforward"),
    ]
    for entry in records:
        entry.write(tmp_path / "results" / "records" / entry.id)
    source = tmp_path / "results" / "records"
    loaded = load_records(source)
    assert loaded == sorted(records, key=lambda r: r.id)
    readme = tmp_path / "README.md"
    readme.write_text("top\n<!-- answer: written by make report -->\nold\n<!-- end of the answer -->\nend\n")
    files = write_report(source, tmp_path / "results", readme)
    first = {path: path.read_bytes() for path in files}
    assert {path.suffix for path in files} == {".md", ".csv", ".tex", ".svg", ".png", ".html"}
    assert first == {path: path.read_bytes() for path in write_report(source, tmp_path / "results", readme)}
    text = readme.read_text()
    assert text.startswith("top\n")
    assert text.endswith("end\n")
    assert "old" not in text
    assert "| LSTM | unstable | recurrent | 35 | 44.0 | 1 | – | – | – | – | – | 40.0 |" in text


BEGIN, END = "<!-- answer: written by make report -->", "<!-- end of the answer -->"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "does not exist: name the file"),
        ("a letter\n", f"has no place for the answer: add {BEGIN} and {END}"),
        (f"{BEGIN}\n", "has no place"),
        (f"{END}\n{BEGIN}\n", "has no place"),
        ("\xff".encode("latin-1"), "has no place"),
    ],
)
def test_a_readme_without_a_place_for_the_answer_is_refused_before_anything_is_written(text, told, tmp_path, plan):
    entry = record(90.0)
    entry.write(tmp_path / "records" / entry.id)
    readme = tmp_path / "READMEE.md"
    if text is not None:
        readme.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = rf"^readme={readme} {told}.*or choose readme=null to leave every file alone$"
    with pytest.raises(ConfigurationError, match=message):
        write_report(tmp_path / "records", tmp_path / "results", readme)
    plan.readme = str(readme)
    with pytest.raises(ConfigurationError, match=message):
        reproduce(plan)
    assert not {"runs", "results"} & {path.name for path in tmp_path.iterdir()}
    assert text is None or readme.read_bytes() == (text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("missing", ["altair", "vl_convert"])
def test_without_what_draws_the_tables_are_written_and_it_is_named(missing, tmp_path, monkeypatch):
    for name in ("draw", "page"):
        monkeypatch.delitem(sys.modules, f"stablernn.report.{name}", raising=False)
        monkeypatch.delattr(f"stablernn.report.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)  # an import of it fails
    source = tmp_path / "results" / "records"
    for approximation in ("recurrent", "feedforward"):
        entry = record(44.0, data="embedded", optimal=40.0, approximation=approximation)
        entry.write(source / entry.id)
    with pytest.raises(MissingPackageError, match=r"pip install altair vl-convert-python"):
        write_report(source, tmp_path / "results", None)
    assert "44.0" in (tmp_path / "results" / "tables" / "perplexity.md").read_text()


def test_a_damaged_record_is_left_out_and_named(tmp_path, caplog):
    good = record(90.0)
    good.write(tmp_path / good.id)
    record(91.0).write(tmp_path / "bad")
    (tmp_path / "bad" / "record.json").write_text("{")
    with pytest.raises(RecordError, match="not a whole run record"):
        read_record(tmp_path / "bad")
    assert len(load_records(tmp_path)) == 1


def test_a_damaged_record_is_named_once_however_often_it_is_met(tmp_path, caplog):
    good = record(90.0)
    for name in (good.id, "bad"):
        good.write(tmp_path / "records" / "smoke" / "perplexity" / name)
    write_report(tmp_path / "records", tmp_path, None)
    assert caplog.text.count("bad/record.json is of another run") == 1


def test_no_records_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(RecordError, match="make reproduce"):
        write_report(tmp_path / "records", tmp_path, None)


ONE_RUN = ["model=rnn", "stability=unstable", "approximation=recurrent", "training.max_updates=2", "tracking=none"]


@pytest.fixture
def plan(tmp_path):
    """The options of `make reproduce` with a plan of a few seconds."""
    options = compose(
        "reproduce/plan",
        ["study=perplexity", f"runs={tmp_path / 'runs'}", f"results={tmp_path / 'results'}", "readme=null"],
    )
    options.profile = "smoke"
    options.analyses.perplexity = [{"analysis": "certificate", "run": "*"}]
    options.plans.perplexity.smoke = [
        {"side_by_side": True, "sweep": ["experiment=perplexity_smoke", "seed=0,1", *ONE_RUN]}
    ]
    return options


def test_reproduce_runs_reports_and_does_nothing_the_second_time(plan, tmp_path, capfd):
    reproduce(plan)
    assert "2 runs to do, about" in capfd.readouterr().err
    table_before = (tmp_path / "results" / "tables" / "perplexity.md").read_bytes()
    assert re.search(r"\| \d+\.\d ± \d+\.\d \| 2 \|", table_before.decode())
    published = tmp_path / "results" / "records" / "smoke" / "perplexity"
    assert len(list(published.glob("*/record.json"))) == len(list(published.glob(f"*/{BLOCKS_FILE}"))) == 2
    reproduce(plan)
    assert "nothing to train" in capfd.readouterr().err
    assert (tmp_path / "results" / "tables" / "perplexity.md").read_bytes() == table_before


def test_reproduce_leaves_out_data_that_cannot_be_had_and_says_so(plan, tmp_path, capfd):
    plan.plans.perplexity.smoke = [
        {"side_by_side": False, "sweep": ["experiment=perplexity_smoke", *ONE_RUN]},
        {"side_by_side": False, "sweep": ["experiment=perplexity_text", "profile=smoke", *ONE_RUN]},
    ]
    reproduce(plan)
    assert "Left out: wikitext2. wikitext2: the hub does not answer" in capfd.readouterr().err
    assert "WikiText-2" not in (tmp_path / "results" / "tables" / "perplexity.md").read_text()
    plan.dataset = "wikitext2"
    with pytest.raises(DataError, match="dataset=embedded"):
        reproduce(plan)


def test_a_run_that_breaks_does_not_take_the_others_along(plan, tmp_path, monkeypatch):
    def broken(config, *others):
        if config.seed == 0:
            raise OSError("no space left on device")
        return run(config, *others)

    monkeypatch.setattr("stablernn.experiments.packed.run", broken)
    plan.plans.perplexity.smoke[0].side_by_side = False
    with pytest.raises(StableRNNError, match=r"^1 run failed"):
        reproduce(plan)
    assert len(list((tmp_path / "results" / "records" / "smoke" / "perplexity").glob("*/record.json"))) == 1


@pytest.mark.parametrize(
    ("plan_data", "asked", "run"),
    [
        (["embedded", "wikitext2"], "auto", ["embedded", "wikitext2"]),
        (["embedded", "wikitext2"], "embedded", ["embedded"]),
        (["embedded", "wikitext2"], "ptb", ["ptb"]),
        (["wikitext2"], "embedded", ["embedded"]),
        (["embedded"], "wikitext2", ["wikitext2"]),
    ],
)
def test_the_data_set_that_is_asked_for_is_the_one_that_runs(plan_data, asked, run):
    options = OmegaConf.create({"runs": "runs", "winners": None, "progress": True})
    parts = [Part(["experiment=perplexity_smoke", f"dataset={d}", *ONE_RUN], False, options) for d in plan_data]
    chosen = _on_dataset(parts, asked)
    assert [part.data for part in chosen] == run
    assert [config.dataset.name for part in chosen for config in part.configs] == run
    assert not any("progress=false" in part.command for part in chosen)
    options.progress = False
    assert all("progress=false" in part.command for part in chosen)


def test_reproduce_refuses_a_profile_that_does_not_exist(plan):
    plan.profile = "fast"
    with pytest.raises(ConfigurationError, match="choose auto, smoke, quick, cpu, paper"):
        reproduce(plan)


def certified(entry, rate, k):
    entry.certificate = {"certified": rate is not None, "rate": rate}
    result = {
        "options": {"epsilon": 0.01, "tokens": 50, "split": "valid", "k_max": 256, "lengths": [10, 35]},
        "k": k,
        "measured_at": None if k is None else min(k, 256),
        "measured": {} if k is None else {str(min(k, 256)): {"largest": 2e-5, "loss_change": 0.0}},
    }
    return entry, result


def test_the_price_of_stability_is_told_against_the_unstable_model():
    found = [
        certified(record(100.0), None, None),
        certified(record(103.0, stability="stable"), 0.7, 20),
        certified(record(101.0, stability="lstm_spectral", stability__constraint={"limit": 0.99}), 0.988, 1000),
        certified(record(99.0, stability="lstm_as_coded"), None, None),
        certified(record(500.0, model__hidden_size=9), None, None),  # other settings: not to be compared
    ]
    section = only_section([entry for entry, _ in found])
    shown = price_table(section, found)
    cells = {line[1]: line[2:] for line in shown.lines}
    assert len(shown.lines) == 4
    assert cells["unstable"][1:4] == ["no", "100.0", "–"]
    few = "too few seeds (1 of 10 seeds)"
    assert cells["as stated"] == ["–", "0.700", "103.0", "+3.0", few, "20", "2e-05"]
    assert cells["2-norm"] == ["0.99", "0.988", "101.0", "+1.0", few, "1,000", "2e-05"]
    assert cells["as coded"] == ["–", "no", "99.0", "-1.0", few, "–", "–"]
    assert price_table(only_section([found[0][0], found[1][0]]), found) is None


def test_rates_near_one_are_told_from_one():
    assert [rate(value) for value in (0.5, 0.98, 0.999, 0.99995, 1 - 1e-7)] == [
        "0.500",
        "0.980",
        "0.99900",
        "0.9999500",
        "0.999999900",
    ]


def test_an_analysis_that_is_unreadable_is_named_and_left_out(tmp_path, caplog):
    entry = record(90.0)
    entry.write(tmp_path / entry.id)
    assert analyses_of(read_folder(tmp_path), "certificate") == []
    (tmp_path / entry.id / "certificate.json").write_text("{")
    assert analyses_of(read_folder(tmp_path), "certificate") == []
    assert "certificate.json is damaged" in caplog.text
    write_json(tmp_path / entry.id / "truncation.json", curve([100.0, 90.0]))
    assert analyses_of(read_folder(tmp_path), "truncation")[0][1] == curve([100.0, 90.0])


def test_a_run_published_by_two_studies_counts_once(tmp_path):
    for study in ("perplexity", "price_of_stability"):
        entry = record(90.0)
        entry.write(tmp_path / study / entry.id)
    assert len(load_records(tmp_path)) == len(load_records(tmp_path, "perplexity")) == 1
    alone = record(91.0, seed=1)
    alone.write(tmp_path / "price_of_stability" / alone.id)
    assert len(load_records(tmp_path)) == len(load_records(tmp_path, "price_of_stability")) == 2
    assert len(load_records(tmp_path, "perplexity")) == 1
    assert load_records(tmp_path, "truncation_sweep") == []
    assert len(load_records(tmp_path / "price_of_stability", "perplexity")) == 2  # a folder of runs knows no studies


def test_the_stages_of_training_are_told_in_order_and_the_end_only_where_it_differs():
    values = {"largest": [0.9, 0.5], "contracts_from": 1, "lyapunov": -0.5, "lyapunov_deviation": 0.1}
    result = {"options": {"longest": 2, "streams": 4, "split": "valid"}}
    last = values | {"largest": [1.9, 1.5], "contracts_from": None}
    for end, told in (
        (values, ["best epoch, end"]),
        (last, ["best epoch", "end"]),
    ):
        stages = {"best": values, "initial": values, "last": end}
        shown = contraction_table([(record(90.0), result | {"stages": stages})])
        assert [line[2] for line in shown.lines] == ["before training", *told]
    assert shown.lines[-1][-2] == "never"


def test_of_several_seeds_the_largest_growth_and_the_mean_exponent_are_told():
    def stages(growth, start, exponent):
        values = {"largest": [growth], "contracts_from": start, "lyapunov": exponent, "lyapunov_deviation": 9.0}
        return {"options": {"longest": 1, "streams": 4, "split": "valid"}, "stages": {"best": values, "last": values}}

    found = [(record(90.0), stages(0.5, 1, -0.1)), (record(91.0, seed=1), stages(0.7, 3, -0.3))]
    best, end = contraction_table(found).lines
    assert best[2:] == ["best epoch", "2", "0.7", "3", "-0.200 ± 0.141"]
    assert end[2:] == ["end", *best[3:]]
    (line, _) = contraction_table([*found, (record(91.0, seed=2), stages(2.0, None, -0.2))]).lines
    assert line[2:6] == ["best epoch", "3", "2", "never"]


def test_what_is_not_certified_says_why_on_a_line_of_its_own():
    shown = plain_table(["a"], [["b"]], ["note"], ["because"])
    assert markdown(shown).endswith("note.\n\n- because\n")


# ---- truncation


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_table_says_which_k_leave_most_positions_as_they_are(seeds):
    note = "a k above 2 leaves most positions as they are"

    def told(*cut):
        found = [(record(90.0, seed=seed), curve([95.0, 91.0, 90.0]) | {"cut": list(cut)}) for seed in range(seeds)]
        return any(line.startswith(note) for line in truncation_table(found).notes)

    assert told(90, 50, 49)
    assert not told(90, 60, 50)
    assert not told(100, 100, 100)


def curve(perplexities, certified=None, optimal=None, words=100):
    """What analysis=truncation leaves, for k = 1, 2, ..."""
    nats = [math.log(value / perplexities[-1]) for value in perplexities]
    return {
        "options": {"split": "test", "k_max": len(perplexities)},
        "count": words,
        "recurrent": {"value": perplexities[-1], "total": words * math.log(perplexities[-1]), "count": words},
        "k": list(range(1, len(perplexities) + 1)),
        "cut": [words] * len(perplexities),
        "value": perplexities,
        "loss_change": nats,
        "largest": nats,
        "state": {name: [1 / k for k in range(1, len(perplexities) + 1)] for name in ("mean", "p99", "largest")},
        "certified": {"state": certified, "nats": certified, "reason": None if certified else "W is large"},
        "optimal": optimal,
        "optimal_whole_past": optimal and optimal[-1],
        "swept": 0.5,
    }


def test_the_measured_context_holds_from_there_on():
    # k = 2 is within 0.01 nats by chance, k = 3 is not.
    result = curve([100.0, 90.5, 95.0, 90.1, 90.0])
    assert measured_context(result) == 4
    assert measured_context(curve([90.0, 90.0])) == 1
    assert measured_context(result | {"loss_change": [0.1] * 5}) is None
    assert certified_context(curve([90.0] * 4, certified=[1.0, 0.5, 0.01, 0.001])) == 3
    assert certified_context(result) is None


def test_one_run_is_told_by_k_and_several_by_model():
    found = [(record(90.0), curve([100.0, 91.0, 90.0], certified=[1.0, 0.1, 0.001], optimal=[50.0, 40.0, 30.0]))]
    alone = truncation_table(found)
    assert [line[0] for line in alone.lines] == ["1", "2", "3", "all"]
    assert alone.lines[0][1:4] == ["100.00", "50.00", "+0.10536"]
    assert alone.lines[-1][1:3] == ["90.00", "30.00"]
    unproven = (record(80.0, stability="stable"), curve([100.0, 91.0, 90.0]))
    several = truncation_table([*found, unproven])
    assert [line[-2:] for line in several.lines] == [["3", "3"], ["3", "no"]]
    assert "nothing is proven: W is large" in truncation_table([unproven]).notes


def test_seeds_stand_together_with_the_context_of_the_one_that_needs_most():
    quick = record(90.0), curve([100.0, 90.1, 90.0], certified=[1.0, 0.001, 0.001])
    slow = record(92.0, seed=1), curve([100.0, 95.0, 92.0], certified=[1.0, 0.1, 0.001])
    late = record(92.0, seed=2), curve([100.0, 95.0, 92.0], certified=[1.0, 0.1, 0.1])
    other = record(91.0, optimizer__lr=5), curve([100.0, 91.0, 91.0], certified=None)
    both, alone = truncation_table([quick, other, slow]).values
    assert (both[2].value, both[-2].value, both[-1].value) == (2, 3, 3)
    assert (both[3].value, both[3].spread) == (91.0, math.sqrt(2))
    assert both[3].runs == (quick[0].id, slow[0].id)
    assert (alone[2].value, alone[-2].value, alone[-1].value) == (1, 2, "no")
    ((*_, proven),) = truncation_table([quick, slow, late]).values
    assert proven.value == "> 3"
    ((*_, proven),) = truncation_table([quick, slow, (late[0], curve([92.0] * 3))]).values
    assert proven.value == "no"


def swept(recurrent, feedforward):
    """Records of a sweep over k: perplexities by k."""
    pairs = [("recurrent", recurrent), ("feedforward", feedforward)]
    return [record(value, approximation=name, truncation__k=k) for name, by in pairs for k, value in by.items()]


def test_the_sweep_holds_feedforward_against_recurrent_at_the_same_k():
    section = only_section(swept({5: 100.0, 35: 90.0}, {5: 110.0}))
    shown = sweep_table(section)
    assert [line[:5] for line in shown.lines] == [
        ["LSTM", "5", "100.0", "110.0", "+10.0"],
        ["LSTM", "35", "90.0", "–", "–"],
    ]
    assert sweep_table(only_section(swept({5: 100.0}, {}))) is None


def test_runs_of_the_sweep_under_other_limits_are_no_seeds_of_one_another():
    entries = [
        record(value, model="rnn", stability="stable", stability__constraint={"limit": limit}, approximation=name)
        for limit, values in ((0.8, (100.0, 103.0)), (0.999, (90.0, 99.0)))
        for name, value in zip(("recurrent", "feedforward"), values, strict=True)
    ]
    section = only_section(entries)
    shown, figure = sweep_table(section), sweep_curves(section)
    assert shown.heads == [
        "model",
        "k",
        "stable (‖W‖₂ ≤ 0.8)",
        "feed-f.",
        "± %",
        "stable (‖W‖₂ ≤ 0.999)",
        "feed-f.",
        "± %",
    ]
    assert shown.lines == [["RNN", "35", "100.0", "103.0", "+3.0", "90.0", "99.0", "+10.0"]]
    assert len({curve.colour for curve in figure.curves}) == 2


def test_the_sweep_compares_means_over_all_seeds_of_each():
    """Seeds are no pairs: 110 is against the geometric mean of 100 and 50, as log-perplexities have their mean."""
    entries = [*swept({5: 100.0}, {5: 110.0}), record(50.0, seed=1, truncation__k=5)]
    shown = sweep_table(only_section(entries))
    assert shown.lines[0][2:] == ["75.0 ± 35.4 (2)", "110.0", "+55.6"]


def test_a_diverged_run_of_the_sweep_is_told():
    shown = sweep_table(only_section(swept({5: 100.0}, {5: None})))
    assert shown.lines[0][2:5] == ["100.0", "diverged", "–"]


def test_the_distance_of_weights_is_told():
    result = {
        "options": {"reference": 65},
        "updates": [0, 10, 20],
        "reference_moved": [0.0, 1.0, 2.0],
        "distance": [0.0, 0.1, 0.25],
    }
    found = [
        (record(90.0, approximation="feedforward", truncation__k=k, stability=s), result)
        for k in (5, 65)
        for s in ("stable", "unstable")
    ]
    shown = weight_distance_table(found)
    assert shown.heads == ["model", "stability", "lr", "k=5", "moved"]
    assert [line[1] for line in shown.lines] == ["unstable", "stable"]
    assert shown.lines[0][2:] == ["20", "0.25", "2"]


def test_the_report_writes_the_tables_and_figures_of_truncation(tmp_path):
    source = tmp_path / "records"
    recurrent = record(90.0)
    recurrent.write(source / "perplexity" / recurrent.id)
    write_json(source / "perplexity" / recurrent.id / "truncation.json", curve([100.0, 91.0, 90.0]))
    for entry in swept({5: 100.0}, {5: 110.0}):
        entry.write(source / "truncation_sweep" / entry.id)
    files = {path.name for path in write_report(source, tmp_path / "results", None)}
    assert {"truncation.md", "truncation_sweep.md", "truncation_wikitext2_paper.svg"} <= files
    assert "truncation_sweep_wikitext2_paper.png" in files
    perplexity = (tmp_path / "results" / "tables" / "perplexity.md").read_text()
    assert "110.0" not in perplexity  # the sweep's runs are told in its own table


def test_what_is_not_known_of_a_truncation_over_one_block_is_a_dash_and_no_claim(small, tmp_path, capfd):
    """Of a single block of words nobody knows how far others would be: the analysis says null."""
    run(small("model=rnn", "stability=stable"))
    (trained,) = find_runs("*", tmp_path / "runs", None, torch.device("cpu"))
    ((_, result),) = analyse(TruncationAnalysis(k_max=3), [trained])
    assert result["error"]["blocks"] == 1
    assert set(result["error"]["loss_change"]) == {None}
    write_report(tmp_path / "runs", tmp_path / "out", None)
    print_report(tmp_path / "runs", "truncation")
    shown = [rich_table(truncation_table([(trained.record, result)]))]
    with console.capture() as terminal:
        console.print(*shown)
    texts = {"terminal": terminal.get() + capfd.readouterr().err}
    texts |= {path.name: path.read_text() for path in (tmp_path / "out").rglob("*.*") if path.suffix != ".png"}
    assert {"truncation.md", "index.html"} <= texts.keys()
    assert any(name.startswith("truncation") and name.endswith(".svg") for name in texts)
    for name, text in texts.items():
        text = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert not re.search(r"(?<![\w-])(nan|NaN|None)(?![\w-])", text), name


def test_an_error_that_is_missing_of_many_blocks_decides_nothing(judged):
    result = curve([91.0, 90.0, 90.0]) | {"error": {"blocks": 24, "length": 1024, "loss_change": [0.1, None, 0.0]}}
    (judgement,) = judged("C4", [record(90.0)], truncation=result)
    assert "other text" not in judgement.verdict


def test_a_run_of_infinite_perplexity_has_diverged_and_takes_no_report_along(small, tmp_path):
    record = run(small("optimizer.lr=1e30"))
    assert record.status == "diverged"
    assert run(small("model=rnn")).status == "finished"
    write_report(tmp_path / "runs", tmp_path / "results", None)
    (table,) = (tmp_path / "results" / "tables").glob("perplexity.md")
    assert "| diverged | 0 of 1 |" in table.read_text(encoding="utf-8")


def test_seeds_looked_into_on_different_stretches_are_compared_on_all_of_test():
    short, long = record(100.0, seed=0), record(110.0, seed=1)
    table = truncation_summary([(short, curve([88.0, 80.0], words=10)), (long, curve([121.0, 110.0], words=1000))])
    (line,) = table.lines
    assert line[table.heads.index("all")].startswith("105.0 ±")
    assert line[table.heads.index("k=2")] == "105.0"
    one = truncation_summary([(short, curve([160.0, 88.0, 80.0], words=10))]).lines[0]
    assert one[table.heads.index("k=2")] == "110.0", "10 % more than on all of test, as on the stretch"
