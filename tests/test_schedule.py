"""What is due after which update, against counting one update after the other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stablernn.config.schema import Training
from stablernn.training.schedule import Counters, Schedule
from stablernn.utils.metrics import PERPLEXITY, Score

some = st.none() | st.integers(1, 30)
EPOCH, TOKENS = 7, 10


def options(**chosen) -> Training:
    return Training(**({"batch_size": 5, "clip": 1.0, "annealing": 4.0, "checkpoint_seconds": 0.0} | chosen))


@given(
    epochs=st.integers(1, 4),
    max_updates=some,
    max_tokens=st.none() | st.integers(1, 300),
    pause_after=st.none() | st.integers(1, 2),
    every=some,
    snapshots=some,
    keep=st.none() | st.integers(1, 3),
    early_stop=st.integers(1, 5),
    log=st.integers(1, 9),
    scores=st.lists(st.floats(1, 9), min_size=30, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_a_run_is_what_its_schedule_says(
    epochs, max_updates, max_tokens, pause_after, every, snapshots, keep, early_stop, log, scores
):
    chosen = options(
        epochs=epochs,
        max_updates=max_updates,
        max_tokens=max_tokens,
        pause_after=pause_after,
        evaluate_every=every,
        snapshot_every=snapshots,
        keep_every=keep,
        early_stop=early_stop,
        log_every=log,
    )
    schedule, now = Schedule(chosen, EPOCH, TOKENS), Counters()
    evaluated, kept, without_gain, best = [], [], 0, 10.0
    while not schedule.is_over(now):
        assert without_gain < early_stop
        now.update += 1
        at_the_end = now.update == schedule.total_updates
        assert schedule.row_is_due(now) == (now.update % log == 0)
        assert schedule.snapshot_is_due(now) == (snapshots is not None and (now.update % snapshots == 0 or at_the_end))
        if schedule.evaluation_is_due(now):
            nats = scores[len(evaluated)] if len(evaluated) < len(scores) else 9.0
            evaluated.append(now.update)
            valid = Score(nats, 1)
            now.add_evaluation(0.0, valid, 1.0)
            assert now.is_gain(valid) == (nats < best)
            without_gain = 0 if nats < best else without_gain + 1
            best = min(best, nats)
            assert now.evaluations_without_gain == without_gain
            assert now.best is not None
            assert now.best["total"] == best
            if schedule.keeping_is_due(now):
                kept.append(len(evaluated))

    period = every or EPOCH
    stopped = without_gain >= early_stop
    limits = [epochs * EPOCH, max_updates, None if max_tokens is None else -(-max_tokens // TOKENS)]
    total = min(limit for limit in limits if limit is not None)
    assert schedule.total_updates == total
    assert schedule.evaluations == -(-total // period)
    pause = min(total, (pause_after or epochs) * EPOCH)
    assert now.update == pause or (stopped and now.update < pause)
    assert schedule.is_at_its_end(now) == (stopped or now.update == total)
    assert evaluated == [update for update in range(1, now.update + 1) if update % period == 0 or update == total]
    last = len(evaluated) if schedule.is_at_its_end(now) and evaluated and evaluated[-1] == now.update else None
    assert kept == [number for number in range(1, len(evaluated) + 1) if keep and number % keep == 0 and number != last]


def test_rows_and_evaluations_sum_the_loss_since_their_own_last_one():
    now = Counters()
    now.count(2.0, 4)
    assert now.add_row(PERPLEXITY)["train"] == Score(2.0, 4).value
    now.count(6.0, 4)
    assert now.add_row(PERPLEXITY)["train"] == Score(6.0, 4).value
    row = now.add_evaluation(1.0, Score(3.0, 3), 0.5)
    assert row["train"] == Score(8.0, 8).value
    now.count(1.0, 2)
    assert now.add_evaluation(2.0, Score(3.0, 3), 0.5)["train"] == Score(1.0, 2).value
    assert (now.trained_tokens, now.evaluations, len(now.history)) == (10, 2, 4)


@given(start=st.none() | st.integers(1, 4), gains=st.lists(st.booleans(), min_size=5, max_size=5))
def test_the_learning_rate_falls_without_a_gain_or_from_an_epoch_on(start, gains):
    schedule, now = Schedule(options(epochs=5, anneal_from=start), EPOCH, TOKENS), Counters()
    for epoch, gained in enumerate(gains, 1):
        now.update = epoch * EPOCH
        assert schedule.lr_is_lowered(now, gained) == (not gained if start is None else epoch >= start)


@given(updates=st.integers(1, 3 * EPOCH))
def test_the_learning_rate_rises_by_equal_steps_and_is_not_lowered_before_it_is_there(updates):
    schedule, now = Schedule(options(epochs=5, warm_up=updates), EPOCH, TOKENS), Counters()
    shares = []
    for now.update in range(5 * EPOCH):
        shares.append(schedule.warm_up_share(now))
        assert schedule.lr_is_lowered(now, gained=False) == (now.update >= updates)
    assert shares == [(n + 1) / updates for n in range(updates)] + [None] * (5 * EPOCH - updates)
    assert shares[updates - 1] == 1
