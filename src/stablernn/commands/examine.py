"""Examine a trained network of one's own."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stablernn.analysis.conversion.convert import check_free
from stablernn.analysis.conversion.export import choose_formats
from stablernn.examination.checks import FILE, WEIGHTS, check_file, check_vocabulary
from stablernn.examination.examine import check_sizes
from stablernn.examination.examine import examine as examine_model
from stablernn.examination.network import interface_of
from stablernn.examination.weights import load_network
from stablernn.records.record import RECORD_FILE
from stablernn.utils.console import console, display
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.escaping import terminal
from stablernn.utils.project import command


def examine(options: DictConfig) -> None:
    if not OmegaConf.is_missing(options, "weights"):
        _check_no_run(Path(options.weights))
    for name, what, wanted in (
        ("weights", "weights=model.pt, or model.pt alone", WEIGHTS),
        ("data", "data=text.txt, or --data text.txt", FILE),
    ):
        if OmegaConf.is_missing(options, name) or not options[name]:
            raise ConfigurationError(f"{name} is not set: name a file, as in {what}")
        check_file(name, options[name], wanted)
    sizes = {name: options[name] for name in ("epsilon", "k_max", "tokens", "positions", "seconds", "level")}
    check_sizes(**sizes)
    vocabulary = options.vocabulary and options.vocabulary.split(",")
    _check_files(options, vocabulary or [])
    formats = choose_formats(options.formats) if options.export or options.formats else []
    bounds: Any = None if options.bounds is None else tuple(options.bounds)
    if bounds is not None and len(bounds) != 2:
        raise ConfigurationError(f"bounds={list(bounds)} must be two numbers, as in bounds=[0,1]")
    network = {name: options[name] for name in ("kind", "embedding", "decoder", "outputs")}
    weights = Path(options.weights)
    model = load_network(weights, bounds=bounds, unpickle=options.pickle, **network)
    if options.export:
        interface_of(model)  # refuses a model that predicts nothing
    examination = examine_model(
        model, options.data, vocabulary=vocabulary, name=weights.stem, progress=options.progress, **sizes
    )
    print("\n".join(map(terminal, str(examination).splitlines())))
    written = [examination.save(options.save)] if options.save else []
    if options.export:
        with display(options.progress):
            written.append(examination.export(options.export, options.k, formats))
    for path in written:
        console.print(f"written: {path}", soft_wrap=True)


def _check_no_run(path: Path) -> None:
    if any((folder / RECORD_FILE).is_file() for folder in (path, Path("runs") / path)):
        raise ConfigurationError(
            f"weights={path} is a run of this package, whose network is known: {command('convert')} {path} chooses "
            f"its k and converts it, and {command('analyze')} {path} examines it"
        )


def _check_files(options: DictConfig, vocabulary: Sequence[str]) -> None:
    """Refuse what is not there and what cannot be written, before minutes go into the examination."""
    check_vocabulary(vocabulary)
    if options.save and Path(options.save).is_dir():
        raise ConfigurationError(f"save={options.save} is a folder: name a file, as in save=page.html")
    if options.save and Path(options.save).suffix.lower() not in (".html", ".htm"):
        raise ConfigurationError(f"save={options.save}: the page is HTML: name it so, as in save=page.html")
    if options.export:
        check_free(Path(options.export), "export")
    for option in ("save", "export"):
        if options[option]:
            above = next(folder for folder in Path(options[option]).absolute().parents if folder.exists())
            try:
                TemporaryFile(dir=above).close()
            except OSError as error:
                why = f"nothing can be written in {above} ({error.strerror})"
                raise ConfigurationError(f"{option}={options[option]}: {why}") from None
    if options.k is not None and options.k < 1:
        raise ConfigurationError(f"k={options.k} must be a whole number >= 1")
    if options.k is not None and not options.export:
        raise ConfigurationError(f"k={options.k} is that of an exported network: say export=FOLDER, or leave k out")
