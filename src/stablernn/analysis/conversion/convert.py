"""From a trained run to a feed-forward model in a folder of its own, checked and timed before it is called done."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stablernn.analysis.certificate_on_text import proven_on_text
from stablernn.analysis.conversion.card import CARD, card
from stablernn.analysis.conversion.choice import GUARANTEES, check_guarantee, choose
from stablernn.analysis.conversion.converted import (
    DESCRIPTION,
    VOCABULARY,
    describe,
    feedforward_config,
    load_converted,
    save_weights,
)
from stablernn.analysis.conversion.export import EXPORT, ONNX, choose_formats, order, read_program, write_programs
from stablernn.analysis.conversion.network import network_of
from stablernn.analysis.conversion.scoring import best_speed, largest_difference
from stablernn.analysis.truncation_cost import CurveCost
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.regression import Regression
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.sequence_model import SequenceModel
from stablernn.records.record import DIVERGED, Record
from stablernn.tasks.base import Interface
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import SPLITS, Split
from stablernn.training.trained import Trained
from stablernn.utils.console import Bar, duration, log, open_bar
from stablernn.utils.errors import ConfigurationError, ExportError, RecordError
from stablernn.utils.files import replacing_folder, write_text
from stablernn.utils.metrics import Metric
from stablernn.utils.project import command
from stablernn.utils.provenance import commit, device_name, processor, versions
from stablernn.utils.wording import counted

TOLERANCE = 1e-4  # nats
_PACKAGES = {EXPORT: (), ONNX: ("onnx", "onnxscript", "onnxruntime")}


@dataclass(frozen=True)
class Conversion:
    """What to convert to; conf/convert.yaml says what each option does."""

    epsilon: float = 0.01
    k: int | None = None
    guarantee: str = "auto"
    k_max: int = 256
    split: str = "valid"
    tokens: int | None = 10_000
    formats: list[str] | None = None
    seconds: float = 5.0
    out: str | None = None

    @classmethod
    def of(cls, options: DictConfig) -> "Conversion":
        """The options of this class among ``options``.

        Raises:
            ConfigurationError: one of them is of another type, or no conversion can be made of it.
        """
        node = OmegaConf.structured(cls)
        OmegaConf.set_readonly(node, False)
        for option in fields(cls):
            try:
                OmegaConf.update(node, option.name, options[option.name])
            except OmegaConfBaseException as error:
                raise ConfigurationError(f"{option.name}: {str(error).splitlines()[0]}") from None
        return OmegaConf.to_object(node)  # type: ignore[return-value]

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ConfigurationError(f"epsilon={self.epsilon} must be a positive number of nats")
        for option in ("k", "k_max", "tokens"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise ConfigurationError(f"{option}={value} must be a whole number >= 1")
        for option, choices in (("guarantee", GUARANTEES), ("split", SPLITS)):
            if getattr(self, option) not in choices:
                raise ConfigurationError(f"{option}={getattr(self, option)} is unknown: choose {', '.join(choices)}")
        if self.formats is not None:
            choose_formats(self.formats)

    def __call__(self, trained: Trained) -> tuple[Path, dict[str, Any]]:
        """Write the folder; returns it and its description.

        Raises:
            ConfigurationError: no k does what was asked for, or the folder is in use for something else.
            ExportError: what was written computes something else.
            RecordError: the run diverged, or its weights or data are not here.
        """
        record = trained.record
        if record.status == DIVERGED:
            raise RecordError(f"{record.id} diverged: there is no trained model to convert")
        if self.out is not None:
            check_free(Path(self.out))
        model = trained.model("best")
        if not isinstance(model.objective, FullSoftmax | Bernoulli):
            raise ConfigurationError(
                f"run={record.id} predicts numbers, and the converted formats hold log-probabilities: name a run that "
                "predicts ids or frames; how far its truncations are off says "
                f"{command('analyze')} analysis=truncation run={trained.folder}"
                if isinstance(model.objective, Regression)
                else f"run={record.id} was trained with head=adaptive, and the converted formats hold one full "
                "softmax: train it with head=full"
            )
        on_text = proven_on_text(trained, self.epsilon)
        certificate = check_guarantee(model, self.epsilon, self.k, self.guarantee, self.k_max, on_text)
        split = trained.corpus.splits[self.split].first(self.tokens)
        interface = Interface.of_record(record.data)
        formats = choose_formats(self.formats)
        bar = open_bar(f"convert {record.id}", 3 + len(formats))
        self._announce(model, split, record.metric)
        bar.update(0, "choosing k")
        choice = choose(model, split, self.epsilon, self.k, self.guarantee, self.k_max, on_text, certificate)
        log.info(f"{record.id}: k = {choice.k}, {choice.how}: {choice.reason}")
        folder = Path(self.out) if self.out is not None else trained.folder / f"feedforward-k{choice.k}"
        check_free(folder)
        values: dict[str, Any] = {
            "run": record.id,
            "config": feedforward_config(record, choice.k),
            "data": {name: record.data[name] for name in ("name", "fingerprint")},
            **({"types": record.data["types"]} if "types" in record.data else {"interface": interface.as_dict()}),
            "metric": record.metric.name,
            "order": order(interface),
            "parameters": model.size(),
            "k": choice.k,
            "choice": choice.as_dict() | {"split": self.split},
        }
        vocabulary = getattr(trained.corpus, "vocabulary", None)
        words = vocabulary.read_text(encoding="utf-8") if vocabulary else None
        about = _about(record)
        return folder, write_converted(
            folder, model, interface, split, values, formats, self.seconds, bar, about, vocabulary=words
        )

    def _announce(self, model: SequenceModel, split: Split | Sequences, metric: Metric) -> None:
        """Say what is done, and how long it takes to look at the lengths and to time the forms."""
        layers, rows = (self.k, 1) if self.k is not None else (self.k_max, self.k_max.bit_length())
        measured = 0.0
        if model.backbone.receptive_field is None:
            cost = CurveCost.measured(copy.deepcopy(model).double(), split)
            measured = cost.seconds(len(split), layers, rows * len(split))
        log.info(
            f"choosing k on {counted(len(split), metric.item)}, then writing, checking and timing the forms: "
            f"about {duration(measured + self.seconds)}, and what writing them takes is not known"
        )


def write_converted(
    folder: Path,
    model: SequenceModel,
    interface: Interface,
    split: Split | Sequences,
    values: Mapping[str, Any],
    formats: Sequence[str],
    seconds: float,
    bar: Bar,
    about: str,
    vocabulary: str | None = None,
) -> dict[str, Any]:
    """Write a folder with the feed-forward model of ``values["k"]`` inputs, whole or not at all.

    Args:
        folder: replaced if it holds a converted model.
        model: on its device; cells are unrolled.
        interface: of the model.
        split: the forms are compared and timed on it.
        values: of the description.
        formats: to write.
        seconds: the forms are timed for so long.
        bar: of 3 + len(formats) steps, one of them done.
        about: what the model was made of, for the model card.
        vocabulary: a line for each id.

    Returns:
        The description.

    Raises:
        ExportError: a form computes something else.
    """
    values, k = dict(values), values["k"]
    bar.update(1, "writing the forms")
    with replacing_folder(folder) as new:
        save_weights(new, model, values["run"])
        write_programs(network_of(copy.deepcopy(model).cpu(), k), interface, new, formats)
        if vocabulary is not None:
            write_text(new / VOCABULARY, vocabulary)
        describe(new, values)
        bar.update(2, "reading what was written")
        ours = load_converted(new)
        programs = {name: read_program(new, name) for name in formats}
        values["parity"] = {}
        for number, (name, program) in enumerate(programs.items()):
            bar.update(2 + number, f"holding {name} against our model")
            result = largest_difference(ours, program, split, k)
            if not result["nats"] <= TOLERANCE:
                raise ExportError(
                    f"formats: {name} differs from our model by {result['nats']:.2g} nats, more than "
                    f"{TOLERANCE:g}: nothing was written; leave {name} out of formats"
                )
            values["parity"][name] = result
        bar.update(2 + len(programs), "timing the forms")
        values["speed"] = best_speed(
            model,
            ours.to(model.device),
            lambda: {name: read_program(new, name) for name in formats},
            split,
            seconds,
        )
        bar.close()
        write_text(new / CARD, card(values, interface, about, vocabulary is not None))
        values["hardware"] = {
            "device": device_name(model.device),
            "processor": processor(),
            "threads": torch.get_num_threads(),
        }
        runtimes = {package: metadata.version(package) for name in formats for package in _PACKAGES[name]}
        return describe(new, values | {"versions": versions() | runtimes, "commit": commit()})


def _about(record: Record) -> str:
    """The run of a converted model, for its card."""
    metric, test = record.metric, record.metrics.get("test") or {}
    score = f", {metric.name} on test {test['value']:.{metric.places}f}" if "value" in test else ""
    return f"The run `{record.id}` of stablernn, trained on {record.data['name']}{score}."


def check_free(folder: Path, option: str = "out") -> None:
    """Only a converted model may be replaced by another."""
    if folder.exists() and not (folder / DESCRIPTION).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{option}={folder} exists and is no converted model: choose another folder")
