"""The atlas as a study and as a chapter: its plan, its table and what it says of its questions."""

import itertools
import re
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from test_context import music
from test_report import curve
from test_verdicts import contracting, horizon

from stablernn.analysis.certificate import singular_values
from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.experiments.reproduce import studies_of
from stablernn.experiments.sweep import expand
from stablernn.models.cells.orthogonal import OrthogonalCell
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.records.schemas import analysis_check
from stablernn.report.atlas_pages import equations_of, page_texts
from stablernn.report.draw import _labels
from stablernn.report.evidence import gather
from stablernn.report.formats import comma_separated
from stablernn.report.sections.atlas import SECTION, atlas_table, every_mechanism, solved_table
from stablernn.report.sections.atlas_figures import atlas_figures, synthetic_figure
from stablernn.report.sections.atlas_questions import OTHER, OWN, families, family, mapped, sentences
from stablernn.report.slices import leading
from stablernn.report.write import print_conclusions, write_report
from stablernn.utils.escaping import markdown_text
from stablernn.utils.files import write_json

SOLVED, CHANCE = 0.001, 0.17
TASKS = {
    "adding_100": "adding.Adding",
    "copy_memory": "copy_memory.CopyMemory",
    "selectivity": "selectivity.Selectivity",
}


def runs(data, model, scores, **changes):
    """A run a seed, on a synthetic task or on chorales."""
    made = []
    for seed, score in enumerate(scores):
        run = music(score, seed, experiment="atlas_test", model=model, profile="cpu", **changes)
        run = replace(run, id=f"{data}-{model}-{changes.get('stability', 'unstable')}-recurrent-k35-s{seed}-abc{seed}")
        if data in TASKS:
            run.data |= {"name": data, "metric": "MSE", "baselines": {"a constant": 1 / 6}}
            run.config["dataset"] = {"_target_": f"stablernn.tasks.{TASKS[data]}", "name": data, "seed": 1}
        else:
            run.config["dataset"]["name"] = data
        if model == "lstm_fixed":
            run.config["model"]["cell"] = {"forget": 1.0}
        run.certificate |= {"certified": False, "reason": "W is too large"}
        made.append(run)
    return made


def singular(least, most):
    reason = {"certified": False, "reason": "W is too large"}
    measured = {"2": {"largest": 0.1}}
    options = {"lengths": [2], "epsilon": 0.01, "tokens": 9, "split": "valid", "k_max": 4}
    proven = {"certified": True, "context": {"0.01": 12}, "rate": 0.5, "radius": 1.0, "decoder": 1.0}
    values = {"initial": {"W": [1.0, 1.0]}, "best": {"W": [least, most]}}
    result = {"options": options, "certificate": reason, "initial": proven, "singular_values": values}
    return result | {"certified": {"2": None}, "measured": measured, "measured_at": None, "k": None}


@pytest.fixture
def atlas(tmp_path):
    """Writes runs, each with its analyses, and maps them."""

    def write(*entries, **analyses):
        for entry in (one for some in entries for one in some):
            folder = tmp_path / "records" / "cpu" / "atlas" / entry.id
            entry.write(folder)
            for name, result in analyses.items():
                write_json(folder / f"{name}.json", result | {"run": entry.id})
        evidence = gather(tmp_path / "records", tmp_path)
        return [one for data in leading(evidence.atlas) for one in mapped(data, evidence)]

    return write


def said(every):
    return " ".join(sentences(every))


@pytest.mark.parametrize(
    ("whole", "fixed", "words"),
    [
        (SOLVED, SOLVED, "the memory alone is enough on adding problem"),
        (SOLVED, CHANCE, "the gate is needed on adding problem"),
        (CHANCE, SOLVED, "the gate is in the way on adding problem"),
        (CHANCE, CHANCE, "neither solves it on adding problem"),
    ],
)
def test_the_gate_is_needed_where_the_lstm_solves_what_it_does_not_with_f_1(atlas, whole, fixed, words):
    every = atlas(runs("adding_100", "lstm", [whole] * 3), runs("adding_100", "lstm_fixed", [fixed] * 3))
    assert words in said(every)
    assert [one.solved for one in every].count(True) == (whole == SOLVED) + (fixed == SOLVED)


@pytest.mark.parametrize(
    ("whole", "fixed", "words"),
    [
        ((SOLVED, SOLVED, CHANCE), [SOLVED] * 3, "2 of 3 with the gate and every seed without it solve it on adding"),
        ([SOLVED] * 3, (CHANCE, SOLVED, CHANCE), "every seed with the gate and 1 of 3 without it solve it on adding"),
        ((SOLVED, SOLVED, CHANCE), (CHANCE, SOLVED, CHANCE), "2 of 3 with the gate and 1 of 3 without it solve it on"),
        ([CHANCE] * 3, (CHANCE, SOLVED, CHANCE), "none of 3 with the gate and 1 of 3 without it solve it on adding"),
    ],
)
def test_a_task_that_some_seeds_solve_is_no_proof_that_the_gate_is_needed_or_in_the_way(atlas, whole, fixed, words):
    every = atlas(runs("adding_100", "lstm", whole), runs("adding_100", "lstm_fixed", fixed))
    assert words in said(every)
    assert said([one for one in every if one.model == "lstm"]) == "", "one alone answers nothing"


@pytest.mark.parametrize(("fixed", "words"), [(8.21, "the memory alone is enough"), (8.6, "the gate is needed")])
def test_on_music_the_rule_of_decision_tells_gate_from_memory(atlas, fixed, words):
    every = atlas(
        runs("jsb", "lstm", (8.19, 8.2, 8.21)), runs("jsb", "lstm_fixed", (fixed - 0.01, fixed, fixed + 0.01))
    )
    assert f"{words} on JSB chorales" in said(every)
    verdicts = {one.model: one.verdict for one in every}
    assert verdicts["lstm"] == "better than the baseline"
    assert (verdicts["lstm_fixed"] == "at the baseline") == (fixed > 8.5)


@pytest.mark.parametrize(
    ("gated", "free", "words"),
    [
        (SOLVED, CHANCE, "Of these mechanisms yes: none of 1 without gates solves it; with gates LSTM does"),
        (SOLVED, SOLVED, "No: IndRNN solves it without; with gates LSTM does"),
        (CHANCE, CHANCE, "Not known: none of 2"),
    ],
)
def test_selectivity_needs_gates_where_nothing_without_solves_it(atlas, gated, free, words):
    every = atlas(runs("selectivity", "lstm", [gated] * 3), runs("selectivity", "indrnn", [free] * 3))
    assert words in said(every)


def test_a_task_that_one_seed_does_not_solve_is_not_solved(atlas):
    (one,) = atlas(runs("selectivity", "indrnn", (SOLVED, SOLVED, CHANCE)))
    assert not one.solved
    assert one.verdict == "solved in 2 of 3, at chance in 1 of 3"


@pytest.mark.parametrize(("ends", "answer"), [((0.95, 1.05), "Yes"), ((0.5, 1.0), "No"), ((1.0, 1.2), "No")])
def test_a_matrix_is_orthogonal_while_all_its_singular_values_are_near_1(atlas, ends, answer):
    every = atlas(runs("copy_memory", "orthogonal", [0.02] * 3), certificate=singular(*ends))
    assert f"{answer}: singular values from {ends[0]:.2f} to {ends[1]:.2f} on copy memory" in said(every)


def test_a_matrix_whose_training_diverged_did_not_survive(atlas):
    gone = [
        replace(run, status="diverged", metrics={}, blocks=None)
        for run in runs("copy_memory", "orthogonal", [0.02] * 3)
    ]
    every = atlas(gone, runs("copy_memory", "orthogonal", [SOLVED] * 3, stability="orthogonal_polar"))
    assert "without its constraint? No: 3 of 3 diverged on copy memory, test 0.0010 with it" in said(every)
    assert "diverged" in atlas_table(every, {}).lines[1]


def test_feed_forward_on_music_is_what_scores_the_same_by_fewer_than_a_hundred_inputs(atlas):
    short, long = curve([9.0, 8.5, 8.3, 8.3]), curve([9.0, 8.9, 8.8, 8.3])
    atlas(runs("jsb", "rnn", [8.3] * 3), runs("jsb", "lstm", [8.3] * 3), truncation=short)
    long["loss_change"] = [0.5] * 4  # beyond what was looked at
    every = atlas(runs("jsb", "indrnn", [8.3] * 3), truncation=long)
    assert "1 of 2 on JSB chorales, by the last 3 inputs; not IndRNN (> 4)" in said(every)
    every = atlas(runs("jsb", "gru", [38.8] * 3), truncation=short)
    assert "1 of 2 on JSB chorales, by the last 3 inputs; not IndRNN (> 4); 1 more, not better than" in said(every)


def test_a_k_that_cuts_few_frames_leaves_open_whether_a_mechanism_is_feed_forward(atlas):
    result = curve([9.0, 8.5, 8.3, 8.3]) | {"cut": [90, 60, 40, 20]}
    every = atlas(runs("jsb", "lstm", [8.3] * 3), truncation=result)
    assert "0 of 1 on JSB chorales; undecided of LSTM (3), which leave most frames as they are" in said(every)
    every = atlas(runs("jsb", "lstm", [8.3] * 3), truncation=result | {"cut": [90, 60, 50, 20]})
    assert "1 of 1 on JSB chorales, by the last 3 inputs" in said(every)


def test_a_proof_that_bounds_no_loss_is_read_and_one_that_does_has_its_bounds():
    check, result = analysis_check("certificate"), singular(0.5, 1.5)
    proven = result["initial"]
    with pytest.raises(ValueError, match="is not as its type 'number' says"):
        check(result | {"certificate": proven})
    check(result | {"certificate": proven | {"loss": "not applicable: a squared error has no bounded change"}})


def test_every_mechanism_has_a_page_with_its_equations_and_a_column_a_task(atlas, tmp_path):
    atlas(
        *(runs(data, model, [SOLVED, 0.002]) for data in TASKS for model in ("gru", "orthogonal", "mine")),
        runs("adding_100", "orthogonal", [CHANCE] * 2, stability="orthogonal_polar"),
        gradient_horizon=horizon(-0.1, 0.01, None),
    )
    evidence = gather(tmp_path / "records", tmp_path)
    cells = {"gru": "gru.GRUCell", "orthogonal": "orthogonal.OrthogonalCell"}
    for one in every_mechanism(evidence):
        for record in one.cell.runs.record:
            target = f"stablernn.models.cells.{cells.get(one.model, 'os.Own')}"
            own = {"scale": 2.0, "length": len(one.task)} if one.model == "gru" else {}
            record.config["model"]["cell"] = {"_target_": target} | own
            if one.model == "mine":
                record.model["equations"] = "h' = x <b>\x1b\n# of mine\n\nArgs:\n    a: b"
    texts = page_texts(evidence)
    assert set(texts) == {"README.md", "gru.md", "orthogonal.md", "mine.md"}
    assert "\n    h' = x <b>\\x1b\n    # of mine\n" in texts["mine.md"], "letter by letter, without its arguments"
    assert "Args" not in texts["mine.md"]
    assert texts["README.md"].index("## Your own") > texts["README.md"].index("(orthogonal.md)")
    assert "h' = (1 - z) ⊙ n + z ⊙ h" in texts["gru.md"]
    assert "Args" not in texts["orthogonal.md"]
    head = next(line for line in texts["orthogonal.md"].splitlines() if line.startswith("|"))
    assert head.count("|") == 2 + 4, "three tasks, one of them twice"
    assert "adding problem, W orthogonal" in head
    scores = next(line for line in texts["gru.md"].splitlines() if line.startswith("| test"))
    assert scores.count("0.0015") == 3
    assert "[orthogonal RNN](orthogonal.md): solved: " in texts["README.md"]
    assert "at chance: adding problem (W orthogonal)" in texts["README.md"]
    assert "nothing is proven on adding problem, copy memory and selectivity, as W is too large" in texts["gru.md"]
    for name, page in texts.items():
        assert re.findall(r"\.\./docs/(\w+)\.md", page) == ["extending" if name == "mine.md" else "memory"]
    for page in page_texts(evidence, docs=False).values():
        assert "../../" not in page
        assert re.search(r"docs/\w+\.md of the repository", page)
    (settings,) = [line for line in texts["gru.md"].splitlines() if line.startswith("Here with")]
    assert settings == (
        "Here with `model.cell.scale=2.0`; `model.cell.length=14` (adding problem), `model.cell.length=11` "
        "(copy memory and selectivity)."
    )
    assert "Here with" not in texts["orthogonal.md"]
    notes = atlas_table(every_mechanism(evidence), {}).notes
    assert any("?" in note for note in notes)
    for note in notes:
        assert (markdown_text(note) in texts["README.md"]) is ("?" not in note), "how to read it once, no answers"
        assert note not in texts["gru.md"]


def test_what_each_mechanism_solves_stands_in_a_line_of_its_own(atlas):
    every = atlas(
        *(runs(data, "gru", [score] * 2) for data, score in (("adding_100", SOLVED), ("copy_memory", CHANCE))),
        runs("selectivity", "mine", [0.05, 0.05]),
        runs("jsb", "gru", [8.3, 8.31]),
    )
    table = solved_table(every)
    gru, own = (dict(zip(table.heads, line, strict=True)) for line in table.lines)
    assert (gru["mechanism"], own["mechanism"]) == ("GRU", "mine"), "an own one is the last"
    assert (gru["adding problem"], gru["copy memory"], gru["JSB chorales"]) == ("0.001 ✓", "0.17 ×", "8.3 ✓")
    assert (own["selectivity"], own["copy memory"]) == ("0.05", "–")


def test_settings_stand_beside_a_mechanism_only_where_it_has_several_on_one_task(atlas):
    at = {"stability": "orthogonal_polar", "optimizer__lr": 0.5}
    apart = runs("copy_memory", "orthogonal", [CHANCE]), runs("copy_memory", "orthogonal", [SOLVED], **at)
    every = atlas(runs("adding_100", "orthogonal", [SOLVED], stability="orthogonal_polar"), *apart)
    names = {"orthogonal RNN", "orthogonal RNN, W orthogonal"}
    assert {line[0] for line in solved_table(every).lines} == names
    other = [replace(run, id=f"{run.id}b") for run in runs("copy_memory", "orthogonal", [CHANCE], optimizer__lr=0.25)]
    every = atlas(other)
    assert {line[0] for line in solved_table(every).lines} > names


def test_the_figure_counts_the_solved_among_the_pairs_that_it_draws(atlas):
    every = atlas(
        runs("adding_100", "rnn", [CHANCE]),
        runs("adding_100", "lstm", [SOLVED]),
        truncation=curve([9.0, 8.5, 8.3, 8.3]),
    )
    figure = synthetic_figure(every)
    assert figure is not None
    assert figure.title.startswith("1 of 2 pairs of a mechanism")


def test_a_real_task_has_a_figure_of_its_own_with_its_baselines_and_every_mechanism_by_name(atlas):
    result = curve([9.0, 8.5, 8.3, 8.3])
    every = atlas(
        runs("adding_100", "gru", [SOLVED]),
        *(runs("jsb", model, [score]) for model, score in (("lstm", 8.3), ("indrnn", 8.4), ("min_gru", 8.7))),
        truncation=result,
    )
    made, real = atlas_figures(every)
    assert [level.name for level in made.levels] == ["baseline", "solved"]
    assert made.levels[0].value == 1
    assert {level.value for level in real.levels} == {11.09, 9.10, 8.60}
    assert (made.stem, real.stem) == ("atlas", "atlas_jsb_cpu")
    (panel,) = real.panels
    names = [name for name, _, _ in real.names_of(panel)]
    assert {"LSTM (3)", "IndRNN (3)", "minGRU (3)"} <= set(names), "as in the tables, and no kind in their place"
    assert not {"gates", "min_gru"} & set(names)
    assert "gates of the input alone: minGRU" in real.caption
    assert real.title.startswith("2 of 3 mechanisms"), "by the margin"
    heights = [height for *_, height in _labels(real, panel, 11 * len(names))]
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 11 - 1e-9
    assert "baseline: JSB chorales 8.60 (network on the last frame)" in atlas_table(every, {}).notes


def test_without_a_baseline_nothing_is_said_to_be_better_than_it(atlas):
    own = runs("mine", "lstm", [1.0, 1.1])
    for run in own:
        run.data["name"] = "mine"
    (one,) = atlas(own)
    assert (one.verdict, one.mark) == ("no baseline is known", "")
    assert one.learnt_nothing


def test_the_figure_leaves_out_what_remembers_longer_than_was_looked_at_and_says_so(atlas):
    falling = curve([9.0, 8.5, 8.3, 8.2])
    falling["loss_change"] = [0.3, 0.2, 0.1, 0.05]
    atlas(runs("adding_100", "gru", [SOLVED]), truncation=falling)
    every = atlas(runs("adding_100", "lstm", [SOLVED]), truncation=curve([9.0, 8.5, 8.3, 8.3]))
    figure = synthetic_figure(every)
    assert figure is not None
    assert figure.title.startswith("1 of 1 pair")
    assert "larger than was looked at: GRU (adding problem)" in figure.caption


def test_beyond_ten_million_inputs_is_no_stable_without_a_bound(atlas):
    proven = {"certified": True, "context": {"0.01": None}, "rate": 0.5}
    for more, said in (({}, "> 10⁷"), ({"loss": "not applicable"}, "stable")):
        made = [replace(run, certificate=proven | more) for run in runs("adding_100", "gru", [SOLVED])]
        table = atlas_table(atlas(made), {})
        assert dict(zip(table.heads, table.lines[0], strict=True))["proven"] == said


def test_every_recurrent_model_of_one_direction_has_a_kind():
    """One without would stand among the user's own."""
    files = {path.stem: path.read_text() for path in (ROOT / "conf" / "model").glob("*.yaml")}
    recurrent = {name for name, text in files.items() if "\ncell:" in text and "directions: 2" not in text}
    assert recurrent == set(families())


def test_equations_are_read_of_this_package_s_cells_alone():
    for target in ("os.path.join", "stablernn.models.cells.gru.Nothing", "stablernn.models.cells...gru.GRUCell", None):
        assert equations_of(target) == ""
    assert equations_of("stablernn.models.cells.LSTMCell") == equations_of("stablernn.models.cells.lstm.LSTMCell")


def test_the_atlas_is_a_chapter_of_its_own_and_its_runs_stand_in_no_other(atlas, tmp_path):
    analyses = {
        "certificate": singular(0.5, 1.5),
        "gradient_horizon": horizon(-0.1, 0.01, None),
        "contraction": contracting(-0.1, 0.01, 2),
        "truncation": curve([9.0, 8.5, 8.3, 8.3]),
    }
    every = atlas(
        *(
            runs(data, model, [SOLVED, 0.002, SOLVED])
            for data in TASKS
            for model in ("rnn", "lstm", "orthogonal", "mine")
        ),
        runs("jsb", "lstm", (8.3, 8.31, 8.32)),
        **analyses,
    )
    assert (family("mine"), family("tcn")) == (OWN, OTHER)
    speeds = {
        "mechanisms-a.json": {"cases": {"selectivity-lstm-unstable": {"ratio": 2.5}}, "hardware": "a", "threads": 1}
    }
    table = atlas_table(every, speeds)
    assert sum(line[-1] == "2.5" for line in table.lines) == 1
    assert len(table.rows) == 4 * len(TASKS) + 1
    line = dict(zip(table.heads, table.lines[0], strict=True))
    assert line["verdict"] == "solved"
    assert (line["proven before"], line["proven"]) == ("12", "no")
    assert (line["horizon after"], line["λ_r < 1 from r ="], line["k(0.01)"]) == ("> 100", "2", "3")
    assert "abc0" in comma_separated(table), "the runs behind a score"
    evidence = gather(tmp_path / "records", tmp_path)
    assert [evidence.slices, evidence.tasks, evidence.synthetic, evidence.analysed] == [[]] * 4
    figure = synthetic_figure(every)
    assert figure is not None
    assert {panel.title.split(" T")[0] for panel in figure.panels} == {"adding problem", "copy memory", "selectivity"}
    assert len(figure.curves) <= 6
    assert figure.title.startswith(f"{4 * len(TASKS)} of {4 * len(TASKS)} pairs")
    alone = [replace(one, analyses=one.analyses | {"truncation": []}) for one in every[1:]]
    one_drawn = synthetic_figure([every[0], *alone])
    assert one_drawn is not None
    assert one_drawn.title.startswith("1 of 1 pair"), "only what is drawn counts"
    *_, path = write_report(tmp_path / "records", tmp_path, None)
    text = path.read_text(encoding="utf-8")
    chapter = text.split(f'id="{SECTION.anchor}"')[1].split('<details class="chapter"')[0]
    assert "Does an orthogonal matrix survive training without its constraint? No" in chapter
    linked = set(re.split("[ -]", chapter.split('data-runs="')[1].split('"')[0]))
    assert all(f' id="r{number}"' in text for number in linked)
    assert text.count('<details class="run"') == len(every), "one entry for the seeds of a mechanism on a task"
    assert len(chapter) < 3000 * len(every)


@pytest.mark.parametrize(
    ("studies", "heads"),
    [
        ({"atlas"}, ["Atlas of memory"]),
        ({"tasks"}, ["Verdicts"]),
        ({"atlas", "tasks"}, ["Atlas of memory", "Verdicts"]),
    ],
)
def test_a_study_ends_with_the_answers_to_its_own_questions(atlas, tmp_path, studies, heads, capsys):
    atlas(runs("selectivity", "lstm", [SOLVED]), runs("selectivity", "rnn", [CHANCE]))
    print_conclusions(tmp_path / "records", tmp_path, studies)
    shown = capsys.readouterr().err
    assert [line for line in shown.splitlines() if not line.startswith(" ")] == heads
    assert ("Does selectivity need gates?" in shown) == ("atlas" in studies)
    assert ("Is stability free?" in shown) == ("tasks" in studies)


@pytest.mark.parametrize(
    ("folder", "page", "ends"),
    [
        ("runs", "runs/report", ("'*-unstable-recurrent-*'", "study=truncation_sweep profile=smoke")),
        (
            "a b",
            "c",
            ("'*-unstable-recurrent-*' 'runs=a b'", "study=truncation_sweep 'runs=a b' results=c profile=smoke"),
        ),
    ],
)
def test_what_would_tell_is_a_command_in_the_folders_that_are_there(atlas, tmp_path, folder, page, ends, capsys):
    atlas(runs("selectivity", "lstm", [SOLVED]))
    print_conclusions(tmp_path / "records", Path(page), {"tasks"}, folder, "smoke")
    shown = capsys.readouterr().err.splitlines()
    for claim, end in zip(("C4", "C3"), ends, strict=True):
        assert next(line for line in shown if line.startswith(f"  {claim}")).endswith(end)


@pytest.mark.slow  # whole plans are composed
def test_every_run_of_the_atlas_is_looked_into_by_each_diagnostic_once(tmp_path):
    where = [f"{name}={tmp_path / name}" for name in ("runs", "results", "winners")]
    options = compose("reproduce/plan", ["study=atlas", *where])
    (study,) = studies_of(options, "smoke")
    assert [part.data for part in study.parts] == ["adding_100", "copy_memory", "selectivity", "jsb"]
    characters = expand(["experiment=atlas_ptb_char", "model=lstm,unitary"])  # of no plan at smoke
    names = [run_id(config) for configs in (*(part.configs for part in study.parts), characters) for config in configs]
    for analysis in ("certificate", "gradient_horizon", "contraction", "truncation"):
        patterns = [entry.run for entry in options.analyses.atlas if entry.analysis == analysis]
        assert [sum(fnmatch(name, pattern) for pattern in patterns) for name in names] == [1] * len(names)
    files = {entry.sweep[0].partition("=")[2] for entry in options.plans.atlas.cpu}
    assert files == {path.stem for path in (ROOT / "conf" / "experiment").glob("atlas_*.yaml")} - {"atlas_smoke"}


def test_singular_values_are_the_ends_over_all_layers():
    model = build_language_model(7, OrthogonalCell, Recurrent, 5, 5, 2)
    with torch.no_grad():
        model.cells[1].weight_hh.mul_(0.5)
    assert singular_values(model)["W"] == pytest.approx([0.5, 1.0])
