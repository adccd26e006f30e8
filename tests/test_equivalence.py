"""The rule of decision: no loss, a gain, a loss, or undecided."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from test_report import record

from stablernn.report.data import Slice, frame
from stablernn.report.equivalence import Comparison, compare, format_seeds, seeds_required
from stablernn.report.sections.tasks import task_cells, tasks_table
from stablernn.tasks.music import CONTROLS

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


def test_a_model_worse_than_its_control_decides_nothing():
    bar = list(CONTROLS["jsb"].values())[-1]
    good, bad = [bar - 0.2 + step for step in (0, 0.01, 0.02)], [bar + 0.2 + step for step in (0, 0.01, 0.02)]

    def verdicts(base, other):
        return [cell.verdict for cell in task_cells(section([*runs(base), *runs(other, "stable")]))]

    assert verdicts(good, good) == ["", "no loss (3 of 10 seeds)"]
    assert verdicts(good, bad) == ["", "not trained far enough"]
    assert verdicts(bad, good) == ["not trained far enough", "unstable not trained far enough"]


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
