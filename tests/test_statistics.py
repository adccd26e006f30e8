"""The rule of decision: no loss, a gain, a loss, or undecided; and how often its intervals hold the truth."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter
from test_report import record

from stablernn.records.record import BLOCKS_FILE, RECORD_FILE, read_record
from stablernn.report import statistics as module
from stablernn.report.contents import CLAIMS
from stablernn.report.evidence import Evidence, gather
from stablernn.report.frame import frame
from stablernn.report.load import load_records
from stablernn.report.sections.longer import longer_table
from stablernn.report.sections.study import study_table
from stablernn.report.sections.tasks import task_cells, tasks_table
from stablernn.report.slices import Slice
from stablernn.report.statistics import Comparison, compare, format_seeds, half_width, holm, percent, seeds_required
from stablernn.tasks.music import BASELINES
from stablernn.utils.errors import RecordError

LENGTHS = [30, 50, 40, 60, 20, 80, 45, 55, 35, 70]


def runs(losses, stability="unstable", hardness=None, experiment="table1_jsb"):
    """Runs of the music task with these losses in nats a frame, a seed each; pieces may be harder than others."""
    made = []
    for seed, loss in enumerate(losses):
        totals = np.array(LENGTHS) * (loss + (np.zeros(len(LENGTHS)) if hardness is None else hardness))
        entry = record(1.0, model="lstm", stability=stability, seed=seed)
        total, count = float(totals.sum()), sum(LENGTHS)
        entry.data |= {"name": "jsb", "metric": "NLL"}
        entry.metrics["test"] = {"total": total, "count": count, "value": total / count}
        blocks = {"counts": LENGTHS, "totals": totals.tolist()}
        made.append(replace(entry, id=f"{entry.id}-{stability}-{seed}", blocks=blocks, experiment=experiment))
    return made


def section(records):
    return Slice("cpu", "jsb", "f", tuple(records))


@given(st.lists(st.floats(8, 9), min_size=3, max_size=8), st.lists(st.floats(8, 9), min_size=3, max_size=8))
def test_the_interval_is_welchs_where_the_test_data_do_not_matter(base, other):
    assume(min(np.std(base), np.std(other)) > 1e-6)
    found = compare(frame(runs(base)), frame(runs(other, "stable")))
    whole = stats.ttest_ind(other, base, equal_var=False).confidence_interval(0.9)  # two-sided: 5 % on each side
    assert found.interval == pytest.approx((whole.low, whole.high), abs=1e-6)


def test_what_makes_pieces_hard_for_both_cancels_and_what_does_not_widens():
    hard = np.linspace(-2, 2, len(LENGTHS))
    base, other = [8.4, 8.41, 8.39], [8.45, 8.44, 8.46]
    alike = compare(frame(runs(base, hardness=hard)), frame(runs(other, "stable", hardness=hard)))
    assert alike.text_variance < 1e-20
    apart = compare(frame(runs(base, hardness=hard)), frame(runs(other, "stable", hardness=-hard)))
    assert apart.half() > 5 * alike.half()


def comparison(mean, deviation=0.01, seeds=10, text=0.0):
    return Comparison(mean, (deviation, deviation), (seeds, seeds), text, 0.1, "nats")


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (comparison(-0.2), "gain"),
        (comparison(0.05), "no loss"),
        (comparison(-0.001, 0.1), "no loss"),
        (comparison(0.2), "loss"),
        (comparison(0.09, 0.5), "undecided"),
        (comparison(0.05, 0.0), "no loss"),
    ],
)
def test_margin_and_zero_decide(found, verdict):
    assert found.verdict == verdict
    assert found.words.startswith(verdict)


def test_a_loss_below_the_margin_is_no_loss_by_the_rule():
    """The upper end below the margin comes first: a loss that is sure, and too small to matter, counts as none."""
    assert comparison(0.05, 0.01).interval[0] > 0
    assert comparison(0.05, 0.01).verdict == "no loss"


@given(st.floats(-0.3, 0.3), st.floats(0.001, 0.5))
def test_the_number_of_seeds_that_would_decide_is_the_least(mean, deviation):
    found = comparison(mean, deviation, seeds=3)
    n = found.seeds_to_decide
    if n is not None:
        assert comparison(mean, deviation, seeds=n).verdict != "undecided"
        assert n == 2 or comparison(mean, deviation, seeds=n - 1).verdict == "undecided"


def test_where_the_test_data_alone_are_too_uncertain_no_number_of_seeds_decides():
    assert comparison(0.05, 0.01, text=1.0).seeds_to_decide is None
    assert "no number of seeds" in comparison(0.05, 0.01, text=1.0).words


def test_gains_and_losses_of_several_constraints_have_p_values_by_holm():
    losses = {"stable": [7.9, 8.0, 7.95], "lstm_cascade": [8.0, 8.06, 7.94], "lstm_output_gate": [8.4, 8.45, 8.5]}
    made = {name: runs(values, name) for name, values in losses.items()}
    base = runs([8.1, 8.2, 8.15])
    table = tasks_table([section([*base, *(run for every in made.values() for run in every)])])
    shown = {line[2]: line[table.heads.index("p (Holm)")] for line in table.lines if line[1] == "LSTM"}
    pairs = {name: compare(frame(base), frame(every)) for name, every in made.items()}
    gains, losses = holm([each.p_gain for each in pairs.values()]), holm([each.p_loss for each in pairs.values()])
    for n, (name, each) in enumerate(pairs.items()):
        assert each.p_gain == pytest.approx(1 - each.p_loss)
        expected = {"gain": gains[n], "loss": losses[n]}.get(each.verdict)
        head = {"stable": "as stated", "lstm_cascade": "cascade", "lstm_output_gate": "W_o alone"}[name]
        assert shown[next(label for label in shown if label.startswith((name, head)))] == (
            "–" if expected is None else f"{expected:.1g}"
        )
    assert [each.verdict for each in pairs.values()] == ["gain", "gain", "loss"]
    worse = runs([9.1] * 3)
    undecided = tasks_table([section([*worse, *(run for every in made.values() for run in every)])])
    assert {line[undecided.heads.index("p (Holm)")] for line in undecided.lines} == {"–"}, "of nothing that decides"


def test_two_seeds_are_too_few():
    assert compare(frame(runs([8.4, 8.5])), frame(runs([8.4, 8.5, 8.6]))) is None


@pytest.mark.parametrize(("minutes", "required"), [(1, 10), (14.9, 10), (15, 6), (119, 6), (120, 3), (900, 3)])
def test_the_seeds_that_a_verdict_needs_follow_from_the_time_of_a_run(minutes, required):
    made = runs([8.4] * 3)
    for entry in made:
        entry.speed["seconds"] = 60.0 * minutes
    made[0].speed["seconds"] = 0.0  # a run that was stopped at once does not decide it
    assert seeds_required(frame(made)) == required


@pytest.mark.parametrize(
    ("minutes", "seeds", "verdict", "shown"),
    [
        (1, 3, "gain (3 of 10 seeds)", "3 of 10"),
        (1, 10, "gain", "10"),
        (60, 3, "gain (3 of 6 seeds)", "3 of 6"),
        (60, 6, "gain", "6"),
        (900, 3, "gain (3 seeds, as a run takes hours)", "3"),
        (1, 2, "too few seeds (2 of 10 seeds)", "2 of 10"),
    ],
)
def test_table_and_verdict_say_where_there_are_fewer_seeds_than_the_rule_asks_for(minutes, seeds, verdict, shown):
    steps = np.linspace(0, 0.01, seeds)
    records = [*runs(8.4 + steps), *runs(8.2 + steps, "stable")]
    for entry in records:
        entry.speed["seconds"] = 60.0 * minutes
    assert [cell.verdict for cell in task_cells(section(records))] == ["", verdict]
    table = tasks_table([section(records)])
    assert {line[table.heads.index("seeds")] for line in table.lines if line[1] == "LSTM"} == {shown}
    assert format_seeds(3, 10) == "3 of 10 seeds"


def test_the_verdict_to_w_0_says_of_how_few_seeds_it_is():
    cells = (("unstable", 8.4), ("lstm_gated_linear", 8.3), ("lstm_cascade", 8.2))
    table = tasks_table(
        [section([run for name, loss in cells for run in runs([loss, loss + 0.01, loss + 0.02], name)])]
    )
    verdicts = {
        line[2].split()[0]: line[table.heads.index("verdict to W = 0")] for line in table.lines if line[1] == "LSTM"
    }
    assert verdicts["cascade"] == "gain (3 of 10 seeds)"


def test_each_condition_is_held_against_w_0_at_the_nearest_rate():
    def made(loss, name, limit, rate):
        """Three seeds; ``rate``: the certified λ, None: nothing is proven."""
        constraint = {} if limit is None else {"limit": limit}
        return [
            replace(
                entry,
                config=entry.config | {"stability": {"name": name, "constraint": constraint}},
                certificate={"certified": rate is not None, "rate": rate},
            )
            for entry in runs([loss, loss + 0.01, loss + 0.02], name)
        ]

    cells = [
        *made(8.4, "unstable", None, None),
        *made(8.6, "lstm_gated_linear", 0.7, 0.69),
        *made(8.2, "lstm_gated_linear", 0.999, 0.998),
        *made(8.5, "stable", None, 0.74),
        *made(8.3, "lstm_cascade", 0.999, 0.997),
        *made(8.3, "lstm_as_coded", None, None),
    ]
    found = [cell for cell in task_cells(section(cells)) if cell.beside_control]
    beside = {cell.stability: cell.memoryless.first.metrics["test"]["value"] for cell in found}
    assert beside == {"stable": 8.6, "lstm_cascade": 8.2, "lstm_as_coded": 8.2}
    table = tasks_table([section(cells)])
    rates = {line[2]: line[table.heads.index("λ of W = 0")] for line in table.lines if line[1] == "LSTM"}
    assert rates["stable"] == "0.690"
    shown = study_table([section(cells)])
    (row,) = (line for line in shown.lines if line[1] == "LSTM")
    assert row[shown.heads.index("W = 0")].startswith("8.21"), "the study's table has the weakest"


def test_a_model_worse_than_its_baseline_decides_nothing():
    bar = list(BASELINES["jsb"].values())[-1]
    good, bad = [bar - 0.2 + step for step in (0, 0.01, 0.02)], [bar + 0.2 + step for step in (0, 0.01, 0.02)]

    def verdicts(base, other):
        return [cell.verdict for cell in task_cells(section([*runs(base), *runs(other, "stable")]))]

    assert verdicts(good, good) == ["", "no loss (3 of 10 seeds)"]
    assert verdicts(good, bad) == ["", "not trained far enough"]
    assert verdicts(bad, good) == ["not trained far enough", "unstable not trained far enough"]


def test_a_model_worse_than_its_baseline_has_no_verdict_beside_w_0_either():
    bar = list(BASELINES["jsb"].values())[-1]
    made = {
        "unstable": bar - 0.3,
        "lstm_gated_linear": bar + 0.5,
        "lstm_cascade": bar + 0.2,
        "lstm_output_gate": bar - 0.2,
    }
    records = [run for name, loss in made.items() for run in runs([loss, loss + 0.01, loss + 0.02], name)]
    verdicts = {cell.stability: cell.verdict_beside_control for cell in task_cells(section(records))}
    assert verdicts["lstm_cascade"] == ""
    assert verdicts["lstm_output_gate"].startswith("gain")


@pytest.mark.parametrize(
    ("valid", "patience", "late", "sign"),
    [
        ([9.0, 8.9, 8.8, 8.5], 9, "0.300", "…"),  # its end was set, and the last quarter brought more than 0.1
        ([9.0, 8.9, 8.8, 8.75], 9, "0.050", ""),
        ([9.0, 8.4, 8.6, 8.7], 2, "–", ""),  # validation had stopped improving
    ],
)
def test_a_model_that_was_still_improving_says_so(valid, patience, late, sign):
    history = [{"update": 25 * quarter, "epoch": 1.0, "valid": value} for quarter, value in enumerate(valid, start=1)]
    best = 25 * (1 + int(np.argmin(valid)))
    made = [
        replace(
            entry,
            history=history,
            config=entry.config | {"training": {"epochs": 10, "early_stop": patience}},
            progress=entry.progress | {"best_update": best},
        )
        for entry in runs([8.4, 8.41, 8.42])
    ]
    table = tasks_table([section(made)])
    assert [line[table.heads.index("late gain")] for line in table.lines if line[1] == "LSTM"] == [late]
    shown = study_table([section(made)])
    assert [line[shown.heads.index("unstable")] for line in shown.lines] == [f"8.41{sign} (3)"]
    constraint = {"stability": {"name": "stable", "constraint": {}}}
    stable = [replace(entry, config=entry.config | constraint, id=f"{entry.id}-stable") for entry in made]
    (said,) = CLAIMS[0].judge(Evidence([], [], [], [], {}, {}, tasks=[section([*made, *stable])]))
    assert ("its last quarter of training still brought 0.300 nats" in said.verdict) == bool(sign)


def test_trials_of_a_search_are_in_no_table():
    shown = tasks_table([section([*runs([8.4, 8.5, 8.6]), *runs([8.0], experiment="search_jsb")])])
    assert [line[5] for line in shown.lines if line[1] == "LSTM"] == ["3 of 10"]
    assert math.isclose(float(shown.lines[0][4].split()[0]), 8.5)


def test_runs_of_other_settings_are_no_seeds_of_a_cell():
    others = [replace(run, config=run.config | {"optimizer": {"lr": 9.0}}) for run in runs([7.0, 7.1, 7.2])]
    close = [8.40, 8.41, 8.42]
    both = section([*runs(close), *others, *runs(close, "stable")])
    found = task_cells(both)
    assert sorted(len(cell.replicates.runs) for cell in found) == [3, 3, 3]
    assert [cell.verdict for cell in found if cell.stability == "stable"] == ["no loss (3 of 10 seeds)"], (
        "against its like"
    )
    assert {line[1] for line in tasks_table([both]).lines if line[3] == "recurrent"} == {
        "LSTM (optimizer.lr=9.0)",
        f"LSTM (optimizer.lr={runs(close)[0].config['optimizer']['lr']})",
    }


def test_where_a_run_lacks_its_blocks_the_verdict_says_that_seeds_alone_decided():
    base, other = runs([8.4, 8.41, 8.39]), runs([8.2, 8.21, 8.19], "stable")
    found = compare(frame(base), frame([replace(other[0], blocks=None), *other[1:]]))
    assert found.text_variance is None
    assert found.verdict == "gain"
    assert "by seeds alone" in found.format_verdict()
    assert "by seeds alone" not in compare(frame(base), frame(other)).format_verdict()


def test_without_an_unstable_model_there_is_nothing_to_compare_with():
    (cell,) = task_cells(section(runs([8.2, 8.21, 8.19], "stable")))
    assert cell.verdict == "no unstable model to compare with"


# ---- words: blocks of a text


def scored(nats, seed=0, length=100, tokens=None, **changes):
    """A run that lost so many nats on each block of so many test words, the last of which may be shorter."""
    tokens = tokens or length * len(nats)
    total = math.fsum(nats)
    entry = record(math.exp(total / tokens), seed=seed, **changes)
    entry.metrics["test"] |= {"total": total, "count": tokens}
    counts = [min(length, tokens - begin) for begin in range(0, tokens, length)]
    return replace(entry, blocks={"counts": counts, "totals": [float(one) for one in nats]})


def of_words(base, other, **changes):
    """The comparison of runs with such blocks, a list of blocks a seed."""
    return compare(*(frame(scored(one, seed, **changes) for seed, one in enumerate(side)) for side in (base, other)))


def correlated(generator, words, memory, spread):
    """A stationary series of words with mean 0, a standard deviation, and a correlation that falls as memory^lag."""
    noise = generator.normal(size=words)
    noise[0] /= math.sqrt(1 - memory**2)
    return spread * math.sqrt(1 - memory**2) * lfilter([1.0], [1.0, -memory], noise)


def share(found, truth):
    """How many of the comparisons hold the truth between both one-sided ends; 90 of 100 should."""
    return np.mean([abs(one.mean - truth) <= one.half() for one in found])


def test_the_interval_over_seeds_covers_the_truth():
    generator = np.random.default_rng(0)
    found = [
        compare(frame(runs(generator.normal(8.4, 0.05, 4))), frame(runs(generator.normal(8.5, 0.15, 6), "stable")))
        for _ in range(250)
    ]
    assert 0.86 <= share(found, 0.1) <= 0.94


def test_the_interval_over_words_covers_the_truth_where_blocks_are_long_beside_the_correlation():
    generator = np.random.default_rng(1)
    found = {100: [], 1: []}
    for trial in range(250):
        text = correlated(generator, 2400, 0.9, 2.0)
        losses = [4.5 + mean + text + correlated(generator, 2400, 0.9, 0.5) for mean in (0.0, 0.03)]
        for length in found if trial < 100 else (100,):
            base, other = (loss.reshape(-1, length).sum(1) for loss in losses)
            found[length].append(of_words([base] * 3, [other] * 3, length=length))
    assert 0.86 <= share(found[100], 0.03) <= 0.94
    assert share(found[1], 0.03) < 0.75  # stretches of 8 words are shorter than the correlation


def test_articles_longer_than_a_block_need_stretches_of_blocks(monkeypatch):
    """240 blocks in 60 articles, each of which favours a model."""
    found = {8: [], 1: []}
    for stretch in found:
        monkeypatch.setattr(module, "_STRETCH", stretch)
        generator = np.random.default_rng(6)
        for _ in range(200):
            favour = np.repeat(generator.normal(0.03, 0.05, 60), 4) + generator.normal(0, 0.03, 240)
            text = 4.5 + np.repeat(generator.normal(0, 0.3, 60), 4)
            found[stretch].append(of_words([100 * text] * 3, [100 * (text + favour)] * 3))
    assert 0.84 <= share(found[8], 0.03) <= 0.95
    assert share(found[1], 0.03) < 0.7


def test_the_interval_over_both_covers_what_seeds_alone_miss():
    """Trainings differ, texts favour one kind of model, and texts favour single trainings: all three count."""
    generator = np.random.default_rng(2)
    both, seeds = [], []
    for _ in range(250):
        text, favour = generator.normal(0, 0.5, 24), generator.normal(0, 0.03, 24)
        base, other = [], []
        for _ in range(3):
            of_the_training = generator.normal(0, 0.003, 2)
            of_the_pair = generator.normal(0, 0.005, (2, 24))
            base.append(100 * (4.5 + text + of_the_training[0] + of_the_pair[0]))
            other.append(100 * (4.53 + text + favour + of_the_training[1] + of_the_pair[1]))
        both.append(of_words(base, other))
        seeds.append(replace(both[-1], text_variance=None))
    assert share(both, 0.03) >= 0.88
    assert share(seeds, 0.03) < 0.8


@pytest.mark.parametrize(("blocks", "stretch"), [(8, 1), (43, 5), (90, 8)])
def test_the_bootstrap_is_what_the_spread_of_the_stretches_says(blocks, stretch):
    """The variance is that of the mean of the stretches' differences, wherever they begin."""
    generator = np.random.default_rng(3)
    base = 450 + generator.normal(0, 20, blocks)
    apart = 2 + generator.normal(0, 1, blocks)
    found = of_words([base] * 3, [base + apart] * 3)
    around = [np.mean([apart[(first + step) % blocks] for step in range(stretch)]) for first in range(blocks)]
    error = np.std(around) / math.sqrt(blocks / stretch - 1) / 100
    assert math.sqrt(found.text_variance) == pytest.approx(error, rel=0.04)
    assert found.mean == pytest.approx(apart.mean() / 100)


def test_all_seeds_get_the_same_blocks():
    base, other = (100 * np.random.default_rng(n).normal(4.5, 0.1, 24) for n in (5, 6))
    thrice, often = (of_words([base] * n, [other] * n) for n in (3, 9))
    assert often.text_variance == pytest.approx(thrice.text_variance)  # the same text nine times is no more text
    assert thrice.deviations == pytest.approx((0, 0), abs=1e-9)


def test_a_short_last_block_weighs_its_words():
    """Where every word loses the same no text differs from another, however often a short block is drawn."""
    base, other = ([loss * 100] * 23 + [loss * 7] for loss in (4.5, 4.6))
    assert of_words([base] * 3, [other] * 3, tokens=2307).text_variance < 1e-18


def test_the_same_records_give_the_same_interval():
    base, other = (100 * np.random.default_rng(n).normal(4.5, 0.1, 24) for n in (7, 8))
    first = of_words([base] * 3, [other] * 3)
    module._weights.cache_clear()
    assert of_words([base] * 3, [other] * 3) == first


def test_where_words_say_nothing_seeds_alone_decide_and_it_is_said():
    nats = [450.0 + n for n in range(9)]
    few = of_words([nats[:7]] * 3, [nats[1:8]] * 3)
    other_blocks = compare(*(frame(scored(nats, seed, length=n) for seed in range(3)) for n in (100, 99)))
    for found in (few, other_blocks):
        assert found.text_variance is None
        assert "by seeds alone" in found.words
    assert of_words([nats[:8]] * 3, [nats[7::-1]] * 3).text_variance > 0


def test_half_an_interval_is_that_of_the_mean():
    values = [1.0, 2.0, 4.0]
    low, high = stats.t.interval(0.95, 2, loc=0, scale=stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2)
    assert half_width([1.0]) == math.inf


def test_a_loss_has_the_chance_that_welchs_test_gives_it():
    base, other = [8.40, 8.41, 8.39, 8.43], [8.43, 8.40, 8.44]
    found = compare(frame(runs(base)), frame(runs(other, "stable")))
    assert found.p_loss == pytest.approx(stats.ttest_ind(other, base, equal_var=False, alternative="greater").pvalue)
    assert percent(math.log(1.1)) == pytest.approx(10)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_correction_rejects_what_holms_steps_reject(chances):
    """Step by step: the least of m is held against 5 % / m, the next against 5 % / (m - 1), until one is not below."""
    rejected, order = set(), np.argsort(chances)
    for step, at in enumerate(order):
        if chances[at] * (len(chances) - step) >= 0.05:
            break
        rejected.add(int(at))
    assert {at for at, chance in enumerate(holm(chances)) if chance < 0.05} == rejected


def test_block_sums_lie_beside_the_record(tmp_path):
    entry = scored([450.0 + n / 3 for n in range(9)])
    entry.write(tmp_path / "a")
    assert read_record(tmp_path / "a") == entry
    assert "blocks" not in json.loads((tmp_path / "a" / RECORD_FILE).read_text())
    (tmp_path / "a" / BLOCKS_FILE).unlink()
    with pytest.raises(RecordError, match=f"{BLOCKS_FILE}, which its record names, is missing"):
        read_record(tmp_path / "a")
    values = json.loads((tmp_path / "a" / RECORD_FILE).read_text())
    (tmp_path / "a" / RECORD_FILE).write_text(json.dumps({k: v for k, v in values.items() if k != "checksum"}))
    with pytest.raises(RecordError, match="it has no checksum"):
        read_record(tmp_path / "a")
    replace(entry, blocks=entry.blocks | {"totals": [*entry.blocks["totals"][:-1], math.inf]}).write(tmp_path / "b")
    assert read_record(tmp_path / "b").blocks is None


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "[]",
        '{"counts": [450, 450], "totals": [2025, 2025]}',
        '{"counts": [900], "totals": [4050.1]}',
        "moved",
    ],
)
def test_block_sums_of_another_score_are_refused_with_a_remedy(damaged, tmp_path, caplog):
    entry = scored([450.0] * 9)
    entry.write(tmp_path / "a")
    path = tmp_path / "a" / BLOCKS_FILE
    path.write_text(path.read_text().replace("450.0", "450.1") if damaged == "moved" else damaged)
    with pytest.raises(RecordError, match="train the run again"):
        read_record(tmp_path / "a")
    assert load_records(tmp_path) == []
    assert BLOCKS_FILE in caplog.text


def test_longer_training_stands_beside_the_usual_one_and_in_no_other_table(tmp_path):
    def trained(losses, stability, epochs, experiment):
        return [
            replace(
                entry,
                id=f"{entry.id}-{epochs}",
                experiment=experiment,
                config=entry.config | {"training": {"epochs": epochs, "early_stop": 9}},
                progress=entry.progress | {"epochs": float(epochs)},
            )
            for entry in runs(losses, stability)
        ]

    usual = [*trained([8.3, 8.31, 8.32], "unstable", 30, "table1"), *trained([8.5, 8.51, 8.52], "stable", 30, "table1")]
    more = [
        *trained([8.2, 8.21, 8.22], "unstable", 60, "longer_jsb"),
        *trained([8.1, 8.11, 8.12], "stable", 60, "longer_jsb"),
    ]
    for entry in (*usual, *more):
        entry.write(tmp_path / "cpu" / "tasks" / entry.id)
    evidence = gather(tmp_path, tmp_path)
    assert {run.id for data in evidence.tasks for run in data.records} == {run.id for run in usual}
    assert [run.id for run in evidence.longer[0].records] == [run.id for run in sorted(more, key=lambda run: run.id)]
    shown = longer_table(evidence.longer[0], evidence.tasks)
    (line,) = (line for line in shown.lines if line[1].startswith("stable"))
    at = {head: line[place] for place, head in enumerate(shown.heads)}
    assert (at["epochs"], at["epochs, longer"]) == ("30", "60")
    assert at["verdict"].startswith("loss")
    assert at["verdict, longer"].startswith("gain")
