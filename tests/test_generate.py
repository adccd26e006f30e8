"""Generation: greedy, sampled and by beam search, recurrent beside feed-forward."""

import copy
import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SMALL
from faults.children import script
from test_usage import one_line
from torch.testing import assert_close

import stablernn
from stablernn.config.compose import compose
from stablernn.examination.api import truncate
from stablernn.generation.decoding import Decoding, _Switches, go_on
from stablernn.generation.generate import beside, generate
from stablernn.generation.music import notes_of, write_midi
from stablernn.generation.shown import columns, summary
from stablernn.models.backbone import stack_of
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.peers.gated_conv import GatedConv
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_model
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.music import Music
from stablernn.tasks.sequences import Sequences, SequenceTask
from stablernn.tasks.splits import SPLITS, Corpus, Split
from stablernn.training.trained import Trained
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import F1, NATS_A_FRAME, PERPLEXITY

TYPES, KEYS, SIZE, LENGTH = 13, 6, 5, 25
KINDS = ("words", "music")
SAMPLE = Decoding("sample", seed=3)


def model_of(kind, scale=1.0, cell=torch.nn.LSTM):
    """A random model whose recurrent matrices are scaled, and whose outputs are far from uniform."""
    torch.manual_seed(1)
    rnn = cell(4 if kind == "words" else KEYS, SIZE)
    decoder = torch.nn.Linear(SIZE, TYPES if kind == "words" else KEYS)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(scale)
        rnn.weight_ih_l0.mul_(3)
        decoder.weight.mul_(6)
    if kind == "words":
        return stablernn.from_torch(torch.nn.Embedding(TYPES, 4), rnn, decoder).double()
    return stablernn.from_torch(None, rnn, decoder, bounds=(0, 1), outputs="bernoulli").double()


def prompt_of(kind):
    torch.manual_seed(2)
    return torch.randint(TYPES, (4, 1)) if kind == "words" else torch.randint(2, (4, 1, KEYS)).double()


def scored(model, prompt, items):
    """Log-probabilities of items after a prompt, by one forward pass over all of them."""
    whole = torch.cat([prompt[:, 0], items])
    features, _ = model(whole[:-1, None], model.initial_state(1))
    return model.objective.log_probabilities(features[len(prompt) - 1 :, 0], items)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [None, 1, 3])
@pytest.mark.parametrize("name", ["greedy", "sample", "beam"])
def test_what_is_generated_item_by_item_is_scored_the_same_by_a_whole_forward_pass(kind, k, name):
    model, prompt = model_of(kind), prompt_of(kind)
    model = model if k is None else truncate(model, k)
    found = go_on(model, prompt, LENGTH, Decoding(name, beam=3))
    assert len(found.items) == LENGTH
    assert_close(found.log_probabilities, scored(model, prompt, found.items), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_takes_the_most_probable_item_each_time_as_a_beam_of_one_and_a_cold_sample_do(kind):
    model, prompt = model_of(kind), prompt_of(kind)
    greedy = go_on(model, prompt, LENGTH, Decoding())
    features, _ = model(torch.cat([prompt[:, 0], greedy.items])[:-1, None], model.initial_state(1))
    logits = model.objective.logits(features[len(prompt) - 1 :, 0])
    assert torch.equal(greedy.items, logits.argmax(1) if kind == "words" else (logits > 0).double())
    ordered = (logits if kind == "words" else logits.abs()).sort().values
    expected = ordered[:, -1] - ordered[:, -2] if kind == "words" else ordered[:, 0]
    assert_close(greedy.margins, expected, rtol=0, atol=1e-9)
    for same in (Decoding("beam", beam=1), Decoding("sample", temperature=1e-9, seed=5)):
        assert torch.equal(go_on(model, prompt, LENGTH, same).items, greedy.items)


@pytest.mark.parametrize("kind", KINDS)
def test_a_beam_is_at_least_as_probable_as_greedy_and_a_wide_one_finds_the_most_probable_of_all(kind):
    model, prompt = model_of(kind), prompt_of(kind)
    greedy = float(go_on(model, prompt, LENGTH, Decoding()).log_probabilities.sum())
    for beam in (2, 4, 8):
        assert float(go_on(model, prompt, LENGTH, Decoding("beam", beam=beam)).log_probabilities.sum()) >= greedy
    items = [torch.tensor(n) for n in range(TYPES)]
    if kind == "music":
        items = [torch.tensor(frame).double() for frame in itertools.product((0, 1), repeat=KEYS)]
    every = [torch.stack(pair) for pair in itertools.product(items, repeat=2)]
    most = max(float(scored(model, prompt, pair).sum()) for pair in every)
    found = go_on(model, prompt, 2, Decoding("beam", beam=len(items)))
    assert float(found.log_probabilities.sum()) == pytest.approx(most, abs=1e-9)


def test_a_beam_that_lost_the_greedy_sequence_is_no_less_probable():
    """A chain: 0 goes on to 1 or 2; 1 to one of five and then surely; 2 to one of two and then to anything."""
    chain = torch.full((TYPES, TYPES), 1e-9)
    chain[0], chain[0, 1], chain[0, 2] = 0.03, 0.4, 0.3
    chain[1, 3:8], chain[2, 8:10], chain[3:8, 10], chain[8:10], chain[10, 10] = 0.2, 0.5, 1.0, 1 / TYPES, 1.0
    embedding, rnn, decoder = (
        torch.nn.Embedding(TYPES, TYPES),
        torch.nn.RNN(TYPES, TYPES),
        torch.nn.Linear(TYPES, TYPES),
    )
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.zero_()
        embedding.weight.copy_(20 * torch.eye(TYPES))
        rnn.weight_ih_l0.copy_(torch.eye(TYPES))
        decoder.weight.copy_(chain.log().T)
        decoder.bias.zero_()
    model, start = stablernn.from_torch(embedding, rnn, decoder).double(), torch.zeros(1, 1, dtype=torch.long)
    greedy, beam = (go_on(model, start, 4, decoding) for decoding in (Decoding(), Decoding("beam", beam=2)))
    assert greedy.items.tolist()[0] == 1
    assert float(beam.log_probabilities.sum()) >= float(greedy.log_probabilities.sum())


def test_a_wide_beam_finds_the_best_of_all_texts_that_end_whatever_their_lengths():
    """Against all texts of at most four words that end at the word 0 or are cut; narrow beams come close from below."""
    found_items = set()
    for seed in (0, 3, 5, 6, 10):
        model, prompt = model_of("words"), torch.tensor([[1], [2]])
        torch.manual_seed(seed)
        with torch.no_grad():
            model.objective.weight.normal_(0, 4)
            model.objective.bias[:4] = 0
            model.objective.bias[4:] = -1e9  # four words, so that there are few texts
        every = [
            torch.tensor(items)
            for length in range(1, 5)
            for items in itertools.product(range(4), repeat=length)
            if 0 not in items[:-1] and (items[-1] == 0 or length == 4)
        ]
        nats = [scored(model, prompt, items) for items in every]
        for alpha in (0.0, 0.7, 1.0):
            wide = Decoding("beam", beam=81, end=0, normalisation=alpha)
            found = go_on(model, prompt, 4, wide)
            scores = [wide.score(each) for each in nats]
            best = max(scores)
            assert wide.score(found.log_probabilities) == pytest.approx(best, abs=1e-9)
            assert torch.equal(found.items, every[scores.index(best)])
            assert_close(found.log_probabilities, scored(model, prompt, found.items), rtol=0, atol=1e-9)
            found_items.add((seed, *found.items.tolist()))
            for beam in (1, 2, 3):
                narrow = go_on(model, prompt, 4, Decoding("beam", beam=beam, end=0, normalisation=alpha))
                assert wide.score(narrow.log_probabilities) <= best + 1e-9
                assert wide.score(narrow.log_probabilities) >= wide.score(
                    go_on(model, prompt, 4, Decoding(end=0)).log_probabilities
                )
    assert {len(items) - 1 for items in found_items} == {1, 2, 4}
    assert len(found_items) > 5, "for some the normalisation decides"


@pytest.mark.parametrize("decoding", [Decoding(), SAMPLE, Decoding("beam")], ids=lambda decoding: decoding.name)
def test_nothing_follows_the_end_and_until_then_all_is_as_without_one(decoding):
    model, prompt = model_of("words"), prompt_of("words")
    with torch.no_grad():
        model.objective.weight.mul_(0.5)
    free = go_on(model, prompt, LENGTH, decoding).items.tolist()
    for end in sorted(set(free)):
        found = go_on(model, prompt, LENGTH, replace(decoding, end=end)).items.tolist()
        assert end not in found[:-1]
        if decoding.name != "beam":
            assert found == free[: free.index(end) + 1]
    never = next(number for number in range(TYPES) if number not in free)
    if decoding.name != "beam":
        assert go_on(model, prompt, LENGTH, replace(decoding, end=never)).items.tolist() == free


def test_a_beam_of_one_is_greedy_with_an_end_too():
    model, prompt = model_of("words"), prompt_of("words")
    for end in range(TYPES):
        greedy, beam = (go_on(model, prompt, LENGTH, Decoding(name, beam=1, end=end)) for name in ("greedy", "beam"))
        assert torch.equal(greedy.items, beam.items)


def test_the_best_frames_are_those_of_all_frames_in_order():
    scores = torch.randn(3, KEYS, dtype=torch.float64)
    frames = torch.tensor(list(itertools.product((0.0, 1.0), repeat=KEYS)), dtype=torch.float64)
    all_of_them = torch.stack([_Switches.log_probability(one.expand(len(frames), -1), frames) for one in scores])
    for number in (1, 2, 7, 64, 100):
        items, values = _Switches.best(scores, number)
        assert_close(values, all_of_them.topk(min(number, 64)).values)
        flat = items.flatten(0, 1)
        repeated = scores.repeat_interleave(items.shape[1], 0)
        assert_close(_Switches.log_probability(repeated, flat).view_as(values), values)


def test_samples_have_the_probabilities_of_the_model_at_their_temperature():
    model, prompt = model_of("words"), prompt_of("words")
    features, _ = model(prompt, model.initial_state(1))
    for temperature in (0.5, 2.0):
        drawn = [
            int(go_on(model, prompt, 1, Decoding("sample", temperature=temperature, seed=s)).items) for s in range(1500)
        ]
        shares = np.bincount(drawn, minlength=TYPES) / len(drawn)
        wanted = (model.objective.logits(features[-1, 0]) / temperature).softmax(0).detach().numpy()
        assert np.abs(shares - wanted).max() < 0.05


def test_drawn_switches_are_on_as_often_as_the_model_says():
    model, prompt = model_of("music"), prompt_of("music")
    features, _ = model(prompt, model.initial_state(1))
    for temperature in (0.5, 2.0):
        drawn = [go_on(model, prompt, 1, Decoding("sample", temperature=temperature, seed=s)).items for s in range(400)]
        shares = torch.cat(drawn).mean(0)
        assert_close(shares, (model.objective.logits(features[-1, 0]) / temperature).sigmoid(), rtol=0, atol=0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_what_is_drawn(kind):
    model, prompt = model_of(kind), prompt_of(kind)
    first, again, other = (go_on(model, prompt, LENGTH, Decoding("sample", seed=seed)).items for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decoding", [Decoding(), SAMPLE], ids=lambda decoding: decoding.name)
@pytest.mark.parametrize("cell", [torch.nn.RNN, torch.nn.LSTM, torch.nn.GRU])
def test_recurrent_and_feed_forward_write_the_same_as_far_as_that_is_proven(kind, decoding, cell):
    """And the proof reaches further for a larger k, to the end for one that is large enough."""
    model, prompt, reached = model_of(kind, 0.1, cell), prompt_of(kind), []
    for k in (1, 2, 4, 30):
        found = beside(model, prompt, LENGTH, decoding, k)
        assert (LENGTH if found.differ is None else found.differ) >= found.proven
        moved = (found.recurrent.log_probabilities - found.feedforward.log_probabilities).abs()
        same = slice(None, found.differ)
        assert bool((moved[same] <= found.bounds[same] + 1e-9).all())
        reached.append(found.proven)
    assert reached == sorted(reached)
    assert reached[-1] == LENGTH


def test_where_the_scores_of_two_items_are_nearly_equal_nothing_is_proven_and_the_outputs_may_differ():
    """The same output twice, with a difference that the state before the last input decides."""
    model = model_of("words", 0.3)
    with torch.no_grad():
        model.objective.weight[1] = model.objective.weight[0] + 1e-3
        model.objective.bias[:2] = 50.0
    differing = 0
    for seed in range(8):
        torch.manual_seed(seed)
        found = beside(model, torch.randint(TYPES, (9, 1)), 10, Decoding(), 1)
        assert found.proven == 0
        differing += found.differ is not None
        assert found.differ is None or float(found.recurrent.margins[found.differ]) <= 2 * found.certified
    assert differing


# ---- tasks


def corpus_of(tmp_path, separator=" ", types=("<eos>", "the", "cat", "sat", "<unk>")):
    (tmp_path / "types.txt").write_text("\n".join(types) + "\n")
    splits = {name: Split(np.zeros(50, np.int64)) for name in SPLITS}
    return Corpus("mine", len(types), splits, vocabulary=tmp_path / "types.txt", separator=separator)


def test_a_prompt_is_read_and_written_as_the_text_that_it_is(tmp_path):
    corpus = corpus_of(tmp_path)
    assert corpus.prompt("the cat\nsat")[:, 0].tolist() == [0, 1, 2, 0, 3]
    assert corpus.prompt(None).tolist() == [[0]]
    assert corpus.text_of(torch.tensor([1, 2, 0, 3, 0])) == "the cat\nsat\n"
    with pytest.raises(ConfigurationError, match="'dog' is not among the 5 words of mine: write <unk> in its place"):
        corpus.prompt("the dog")
    letters = corpus_of(tmp_path, "", ("<eos>", "a", " ", "b"))
    assert letters.prompt("a b")[:, 0].tolist() == [0, 1, 2, 3]
    assert letters.text_of(torch.tensor([1, 2, 3, 0])) == "a b\n"
    numbers = Corpus("mine", 7, {})
    assert numbers.text_of(numbers.prompt("5 2")[1:, 0]) == "5 2"


LSTM = stack_of(LSTMCell, Recurrent)


def trained_on(task, interface, backbone=LSTM):
    """A run that is there in memory alone."""
    torch.manual_seed(0)
    model = build_model(interface, backbone, 4, SIZE).eval()

    class InMemory(Trained):
        corpus = task

        def model(self, stage="best"):
            return copy.deepcopy(model)

    from types import SimpleNamespace

    return InMemory(None, SimpleNamespace(id="mine"), None, torch.device("cpu"))  # type: ignore[arg-type]


def rolls(kind, interface, metric):
    piece = np.random.default_rng(0).integers(0, 2, (30, 88)).astype(np.uint8)
    splits = {name: Sequences((piece[:-1],), (piece[1:],)) for name in SPLITS}
    return kind("mine", interface, metric, splits)


MUSIC = Interface(Inputs("box", 88), Outputs("bernoulli", 88))


def test_from_tasks_whose_models_do_not_read_what_they_predict_nothing_is_generated():
    """Also where both have the same shape by chance."""
    with pytest.raises(ConfigurationError, match="nothing can be generated from mine"):
        generate(trained_on(rolls(SequenceTask, MUSIC, F1), MUSIC), Decoding(), 5, k=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0 must be a whole number >= 1"),
        ({"length": 0}, "length=0 must be"),
        ({"prompt": "loud"}, "prompt='loud': of music it is a number of frames, 1 to 29"),
        ({"prompt": "30"}, "1 to 29"),
    ],
)
def test_a_mistake_in_generate_names_its_option(options, message):
    with pytest.raises(ConfigurationError, match=message):
        generate(trained_on(rolls(Music, MUSIC, NATS_A_FRAME), MUSIC), Decoding(), **{"length": 5, "k": 2} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "best"}, "decoding=best is unknown: choose greedy, sample or beam"),
        ({"beam": 0}, "beam=0"),
        ({"temperature": 0.0}, "temperature=0.0 must be a positive number; .* decoding=greedy"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"normalisation": -0.1}, "normalisation=-0.1"),
    ],
)
def test_a_mistake_in_decoding_names_its_option(options, message):
    with pytest.raises(ConfigurationError, match=message):
        Decoding(**options)


def test_an_end_is_a_word_of_the_task_and_the_two_models_may_end_at_different_places(tmp_path):
    corpus = corpus_of(tmp_path)
    run = trained_on(corpus, Interface.of_words(5))
    for end, number in (("<eos>", 0), ("cat", 2)):
        found = generate(run, SAMPLE, 40, "the cat", k=1, end=end)
        for side in (found.recurrent, found.feedforward):
            assert number not in side.items[:-1].tolist()
            assert len(side.items) == 40 or int(side.items[-1]) == number
        assert (len(found.recurrent.items) if found.differ is None else found.differ) >= found.proven
        assert list(summary(found, PERPLEXITY))
    for end in ("dog", "the cat", ""):
        with pytest.raises(ConfigurationError, match=f"end='{end}' must be one word of mine, or <eos>"):
            generate(run, SAMPLE, 5, "the", k=1, end=end)
    with pytest.raises(ConfigurationError, match=r"normalisation=0\.5 .* end=WORD"):
        generate(run, Decoding("beam", normalisation=0.5), 5, "the", k=1)
    with pytest.raises(ConfigurationError, match="end='C': music has no frame that ends it"):
        generate(trained_on(rolls(Music, MUSIC, NATS_A_FRAME), MUSIC), SAMPLE, 5, k=1, end="C")


def test_without_a_k_the_one_of_the_conversion_is_taken():
    found = generate(trained_on(rolls(Music, MUSIC, NATS_A_FRAME), MUSIC), Decoding(), 5, "8", epsilon=0.1)
    assert found.k >= 1
    assert len(found.prompt) == 8
    assert any(found.reason in line for line in summary(found, NATS_A_FRAME))


def test_both_texts_stand_side_by_side_in_80_columns(tmp_path):
    interface = Interface.of_words(5)
    corpus = corpus_of(tmp_path)
    found = generate(trained_on(corpus, interface), SAMPLE, 60, "the cat", k=2)
    lines = list(columns(found, corpus))
    assert max(map(len, lines)) <= 80
    for side in (slice(None, 38), slice(42, None)):
        assert " ".join(line[side] for line in lines[2:]).split()[:2] == ["the", "cat"]
    assert lines[0].split("  ")[0] == "recurrent"
    assert "feed-forward, k = 2" in lines[0]
    said = "\n".join(summary(found, PERPLEXITY))
    assert "60 words" in said
    assert "proven: " in said


def test_a_midi_file_is_the_piano_roll_that_it_was_written_of(tmp_path):
    import mido

    roll = np.random.default_rng(1).integers(0, 2, (12, 88))
    file = mido.MidiFile(write_midi(roll, tmp_path / "roll.mid"))
    now, on, heard = 0, set(), np.zeros_like(roll)
    for message in file.tracks[0]:
        first, now = now // file.ticks_per_beat, now + message.time
        heard[first : now // file.ticks_per_beat, [key - 21 for key in on]] = 1
        if message.type == "note_on":
            assert message.note not in on
            on.add(message.note)
        elif message.type == "note_off":
            on.remove(message.note)
    assert not on
    assert np.array_equal(heard, roll)
    assert len(notes_of(roll)) == sum(message.type == "note_on" for message in file.tracks[0])


def test_the_command_generates_from_a_run_and_a_mistake_is_a_line(tmp_path):
    stablernn.train("model=lstm", "stability=stable", *SMALL, "dataset=embedded", runs=tmp_path / "runs")
    options = ("run=embedded", "length=12", "decoding=sample", "k=3", "out=texts")
    done = script("generate", *options, "prompt=3 4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("recurrent")
    assert (tmp_path / "texts" / "recurrent.txt").read_text().startswith("3 4")
    assert "k = 3: as asked for" in done.stderr
    refused = one_line(script("generate", *options, "beam=3", cwd=tmp_path))
    assert "beam=3 does nothing here: it needs decoding=beam" in refused
    assert "'x,y' is not among the" in one_line(script("generate", *options, "prompt=x,y", cwd=tmp_path))


def test_music_is_written_as_a_picture_and_as_midi(tmp_path, monkeypatch):
    from stablernn.generation.shown import write_music

    found = generate(trained_on(rolls(Music, MUSIC, NATS_A_FRAME), MUSIC), SAMPLE, 6, "4", k=1)
    written = write_music(found, "mine", tmp_path / "out")
    assert [path.name for path in written] == ["generated.svg", "generated.png", "recurrent.mid", "feedforward.mid"]
    assert all(path.stat().st_size > 100 for path in written)
    picture = written[0].read_text()
    assert all(text in picture for text in ("recurrent", "feed-forward, k = 1", "prompt", "frame"))
    assert compose("generate", []).decoding == "greedy"


def test_a_model_that_is_feed_forward_by_construction_is_called_that(tmp_path):
    from stablernn.generation.shown import write_music

    peer = functools.partial(GatedConv, k=3, kernel_size=3)
    found = generate(trained_on(rolls(Music, MUSIC, NATS_A_FRAME), MUSIC, peer), SAMPLE, 6, "4")
    written = write_music(found, "mine", tmp_path / "out")
    assert [path.name for path in written] == ["generated.svg", "generated.png", "feedforward.mid"]
    (said,) = summary(found, NATS_A_FRAME)
    assert said.startswith("feed-forward, k = 3: 6 frames")
    corpus = corpus_of(tmp_path)
    words = generate(trained_on(corpus, Interface.of_words(5), peer), SAMPLE, 6, "the cat")
    assert next(columns(words, corpus)) == "feed-forward, k = 3"
    with pytest.raises(ConfigurationError, match="k=2: GatedConv has no cells to truncate: leave k out"):
        generate(trained_on(corpus, Interface.of_words(5), peer), SAMPLE, 6, "the cat", k=2)


def test_lines_that_are_empty_are_one_that_counts_them():
    from stablernn.generation.shown import _wrapped

    assert _wrapped("a\n\nb\n\n \n\nb\nb", 20) == ["a", "¶", "b", "¶ (3 empty lines)", "b", "b"]
