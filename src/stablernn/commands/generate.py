"""Continue a text or a piece with a trained run, recurrent and feed-forward side by side."""

from pathlib import Path

from omegaconf import DictConfig

from stablernn.generation.decoding import BEAM, SAMPLE, Decoding
from stablernn.generation.generate import generate as generate_from
from stablernn.generation.shown import columns, summary, write_music, write_texts
from stablernn.tasks.splits import Corpus
from stablernn.tasks.transduction import Pairs
from stablernn.training.build import pick_device
from stablernn.training.trained import find_run
from stablernn.utils.console import console
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.escaping import terminal


def generate(options: DictConfig) -> None:
    chosen = {name: options[name] for name in ("beam", "temperature", "seed", "normalisation")}
    decoding = Decoding(options.decoding, **chosen)
    for option, owner in (("beam", BEAM), ("temperature", SAMPLE)):
        if decoding.name != owner and options[option] != getattr(Decoding(), option):
            raise ConfigurationError(f"{option}={options[option]} does nothing here: it needs decoding={owner}")
    trained = find_run(options, pick_device(options.device))
    sizes = {name: options[name] for name in ("length", "prompt", "k", "epsilon", "k_max", "end")}
    generated = generate_from(trained, decoding, **sizes)
    task, record = trained.corpus, trained.record
    if isinstance(task, Corpus | Pairs):
        print("\n".join(map(terminal, columns(generated, task))))
        written = write_texts(generated, task, Path(options.out)) if options.out else []
    else:
        folder = Path(options.out) if options.out else trained.folder / f"generated-{decoding.name}"
        written = write_music(generated, f"{record.id}, {decoding.name}", folder)
    for line in summary(generated, record.metric):
        console.print(line, soft_wrap=True)
    for path in written:
        console.print(f"written: {path}", soft_wrap=True)
