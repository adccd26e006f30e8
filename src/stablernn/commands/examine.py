"""Examine a trained network of one's own."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stablernn.analysis.conversion.export import choose_formats
from stablernn.examination.examine import examine as examine_model
from stablernn.examination.weights import load_network
from stablernn.utils.console import console, display, log
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.escaping import terminal


def examine(options: DictConfig) -> None:
    for name, what in (
        ("weights", "weights=model.pt, or model.pt alone"),
        ("data", "data=text.txt, or --data text.txt"),
    ):
        if OmegaConf.is_missing(options, name) or not options[name]:
            raise ConfigurationError(f"{name} is not set: name a file, as in {what}")
    formats = choose_formats(options.formats) if options.export else []
    weights = Path(options.weights)
    bounds: Any = None if options.bounds is None else tuple(options.bounds)
    if bounds is not None and len(bounds) != 2:
        raise ConfigurationError(f"bounds={list(bounds)} must be two numbers, as in bounds=[0,1]")
    network = {name: options[name] for name in ("kind", "embedding", "decoder", "outputs")}
    model = load_network(weights, bounds=bounds, unpickle=options.pickle, **network)
    vocabulary = options.vocabulary and options.vocabulary.split(",")
    sizes = {name: options[name] for name in ("epsilon", "k_max", "tokens", "positions", "seconds", "level")}
    examination = examine_model(
        model, options.data, vocabulary=vocabulary, name=weights.stem, progress=options.progress, **sizes
    )
    print("\n".join(map(terminal, str(examination).splitlines())))
    if options.save:
        console.print(f"written: {examination.save(options.save)}", highlight=False, soft_wrap=True)
    if options.export:
        with display(options.progress):
            folder = examination.export(options.export, options.k, formats)
        console.print(f"written: {folder}", highlight=False, soft_wrap=True)
    elif options.k is not None:
        log.warning("k is for export=FOLDER, which is not set")
