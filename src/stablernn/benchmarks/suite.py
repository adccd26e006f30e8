"""Which benchmarks there are, and where a machine's measurements lie."""

import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from stablernn.benchmarks import large_vocabulary as large
from stablernn.benchmarks.measured import Job, Measurements
from stablernn.benchmarks.mechanisms import measure_mechanism, mechanism_configs
from stablernn.benchmarks.peers import measure_peer, peer_configs
from stablernn.benchmarks.sequence_length import (
    Limits,
    expected_seconds,
    measure_sequence,
    sequence_cases,
    softmax_seconds,
)
from stablernn.benchmarks.step import Case, constraint_of
from stablernn.benchmarks.step_time import cases, ceiling, measure, measure_constraint, packed
from stablernn.benchmarks.traffic import count_ours, count_plain, count_projection
from stablernn.benchmarks.truncation_curve import measure_curve
from stablernn.config.compose import choices
from stablernn.config.instantiate import make
from stablernn.experiments.sweep import cores
from stablernn.models.precision import set_up_products
from stablernn.tasks.splits import Task
from stablernn.training.trained import find_runs
from stablernn.utils.console import duration, log
from stablernn.utils.errors import ConfigurationError, RecordError
from stablernn.utils.files import write_json
from stablernn.utils.provenance import device_name
from stablernn.utils.wording import counted

Todo = dict[str, Callable[[], None]]
_PARTS = ("step", "sequences", "curve", "large", "mechanisms", "peers", "jobs", "traffic")


class Benchmarks:
    """The parts of conf/bench.yaml, each a list of measurements by name."""

    def __init__(self, options: DictConfig, device: torch.device) -> None:
        self.options = options
        self.device = device
        slug = re.sub(r"\W+", "-", re.sub(r"\(\w+\)|@", "", device_name(device))).strip("-").lower()
        folder = Path(options.results) / "bench"
        self.steps, self.lengths, self.jobs, self.large, self.mechanisms, self.peers = (
            folder / f"{kind}-{slug}.json" for kind in ("step", "sequences", "jobs", "large", "mechanisms", "peers")
        )
        self.traffic = folder / "traffic.json"
        for name, known in (("parts", _PARTS), ("models", choices("model"))):
            unknown = [choice for choice in options[name] if choice not in known]
            if unknown:
                raise ConfigurationError(f"{name}: {unknown[0]} is unknown: choose of [{','.join(known)}]")
        if not options.seconds >= 0:
            raise ConfigurationError(f"seconds={options.seconds:g} must be a number >= 0")
        for name, example in (("mechanisms", "[atlas_adding]"), ("peers", "[peers_jsb]")):
            if name in options.parts and not (given := options[name].experiments):
                raise ConfigurationError(f"{name}.experiments={given}: name one at least, as {example}")
        for name in ("sizes", "batches", "k", "jobs"):
            wrong = [count for count in options[name] if count is not None and count < 1]
            if wrong:
                raise ConfigurationError(f"{name}: {wrong[0]} must be a whole number >= 1")

    def part(self, name: str) -> Iterator[str]:
        """Measure what is missing of a part: yields the name of what comes next, and writes after each."""
        for label, work in self.missing(name).items():
            yield label
            work()

    @cache  # noqa: B019 (one a process)
    def todo(self, name: str) -> Todo:
        """All measurements of a part."""
        return getattr(self, f"_{name}")()

    def missing(self, name: str) -> Todo:
        """Those that are not in its file yet; counting is done again each time."""
        return {label: work for label, work in self.todo(name).items() if not isinstance(work, Job) or work.missing}

    def about(self, name: str) -> str:
        """What a part measures, and what is known of its time before it starts."""
        todo, count = self.todo(name), len(self.missing(name))
        if name == "traffic":
            return f"{counted(count, 'count')}, some seconds"
        files = dict.fromkeys(str(work.file.path) for work in todo.values() if isinstance(work, Job))
        there = f"{len(todo) - count} of {counted(len(todo), 'measurement')} already in {', '.join(files)}"
        if not count:
            return f"{there}: nothing to do (fresh=true measures again)" if todo else "nothing to measure"
        what = f"{there}, {count} to do" if len(todo) > count else counted(count, "measurement")
        if name in ("curve", "large"):
            return f"{what}; how long they take is not known"
        each = self.options.sequences.seconds if name == "sequences" else self.options.seconds
        return f"{what}; each takes {each:g} s or more, all of them {duration(count * each)} or more"

    def _file(self, path: Path) -> Measurements:
        return Measurements(path, self.device, self.options.fresh)

    def _alone(self) -> list[Case]:
        """The cases that several runs at once are measured on."""
        todo = cases(self.options.models, self.options.sizes, [20], [None])
        return [case for case in todo if case.stability == "unstable"]

    def _packed(self, file: Measurements, case: Case, counts: list[int], *place: str) -> Todo:
        work = {count: partial(packed, case, self.device, count, self.options.seconds) for count in counts}
        return {f"{count} x {case.name}": file.job(work[count], *place, case.name, str(count)) for count in counts}

    def _step(self) -> Todo:
        options, file = self.options, self._file(self.steps)

        def timed(case: Case) -> dict[str, Any]:
            if "ceiling" not in file.values:
                file.values["ceiling"] = ceiling(self.device)
            return measure(case, self.device, options.seconds)

        todo: Todo = {}
        for case in cases(options.models, options.sizes, options.batches, options.k):
            todo[case.name] = file.job(partial(timed, case), "cases", case.name)
        if self.device.type == "cuda":
            for case in self._alone():
                todo |= self._packed(file, case, options.jobs, "packed") if case.name in todo else {}

        def cost(model: str, choice: str, size: int) -> dict[str, Any]:
            constraint = constraint_of(model, choice)
            return measure_constraint(model, constraint, size, self.device, options.seconds) | {"stability": choice}

        for model, names in options.constraints.items():
            for size, choice in itertools.product(options.sizes, names):
                name = f"{model}-{choice}-d{size}"
                todo[name] = file.job(partial(cost, model, choice, size), "constraints", name)
        return todo

    def _sequences(self) -> Todo:
        asked, file, device = self.options.sequences, self._file(self.lengths), self.device
        limits = Limits(asked.seconds, asked.longest, asked.memory_gb * 2**30)
        todo: Todo = {}
        set_up_products(device)
        for case in sequence_cases(self.options.models, asked.size, asked.batches, asked.steps):
            softmax = partial(softmax_seconds, case, device, limits.seconds)
            todo.setdefault(f"softmax {case.softmax}", file.job(softmax, "softmax", case.softmax))

            def timed(case=case) -> dict[str, Any]:
                expected = expected_seconds(case, file.values["cases"])
                return measure_sequence(case, asked.k, device, limits, expected)

            todo[case.name] = file.job(timed, "cases", case.name)
        return todo

    def _curve(self) -> Todo:
        asked, file = self.options.curve, self._file(self.lengths)
        try:
            runs = find_runs(asked.run, Path(self.options.runs), self.options.data, self.device)
        except RecordError as error:
            if list(self.options.parts) == ["curve"]:
                raise
            log.warning(f"curve: left out, {error}")
            return {}
        work = {run.record.id: partial(measure_curve, run, asked.k_max, asked.words, asked.plain_words) for run in runs}
        return {name: file.job(each, "curves", f"{name}-k{asked.k_max}") for name, each in work.items()}

    @cached_property
    def _made_text(self) -> Path:
        """Folder of the made text, which goes with this object."""
        self._folder = tempfile.TemporaryDirectory()
        large.write_made_text(Path(self._folder.name), make(self.options.large.text))
        return Path(self._folder.name)

    def _large(self) -> Todo:
        asked, file = self.options.large, self._file(self.large)
        text = make(asked.text)
        made = {"types": text.types, "tokens": text.max_tokens["train"]}
        if file.values.setdefault("text", made) != made:
            file.values |= {"text": made, "cases": {}}
            file.values.pop("encoding", None)

        def in_a_process(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
            return large.in_a_process(work, self._made_text, *arguments)

        cases = [
            large.Case(head, precision, asked.size, batch)
            for batch in asked.batches
            for head in asked.heads
            for precision in asked.precisions
        ]
        cases += [large.Case("full", "auto", asked.size, max(asked.batches), parts) for parts in asked.accumulate]
        todo = {f"encoding {made['tokens']:,} tokens": file.job(partial(in_a_process, large.encode), "encoding")}
        for case in cases:
            train = partial(in_a_process, large.train, case, list(asked.cutoffs), asked.updates, str(self.device))
            todo[case.name] = file.job(train, "cases", case.name)
        return todo

    def _mechanisms(self) -> Todo:
        file, todo = self._file(self.mechanisms), Todo()
        for experiment in self.options.mechanisms.experiments:
            rival, lines = mechanism_configs(experiment, self.device, self.options.data)
            corpus = cache(partial(_load, rival))

            def timed(config: DictConfig, rival=rival, corpus=corpus) -> dict[str, Any]:
                return measure_mechanism(config, rival, corpus(), self.device, self.options.seconds)

            todo |= {name: file.job(partial(timed, config), "cases", name) for name, config in lines.items()}
        return todo

    def _peers(self) -> Todo:
        asked, file, todo = self.options.peers, self._file(self.peers), Todo()
        for experiment in asked.experiments:
            rival, lines = peer_configs(experiment, self.device, self.options.data)
            task = cache(partial(_load, rival))

            def timed(config: DictConfig, rival=rival, task=task) -> dict[str, Any]:
                return measure_peer(config, rival, task(), self.device, self.options.seconds, asked.scored)

            todo |= {name: file.job(partial(timed, config), "cases", name) for name, config in lines.items()}
        return todo

    def _jobs(self) -> Todo:
        options, file = self.options, self._file(self.jobs)
        file.values |= {"cores": cores(), "in_turns": self.device.type == "cuda"}
        counts = [count for count in options.jobs if self.device.type != "cpu" or count <= cores()]
        todo: Todo = {}
        for case in self._alone():
            todo |= self._packed(file, case, counts, "cases")
        return todo

    def _traffic(self) -> Todo:
        asked = self.options.traffic
        values: dict[str, dict[str, Any]] = {"cases": {}, "projections": {}}

        def update(name: str, model: str, size: int, tied: bool) -> None:
            counts = {"plain": count_plain(model, size, tied), "ours": count_ours(model, size, tied)}
            values["cases"][name] = {"model": model, "size": size, "tied": tied} | counts
            write_json(self.traffic, values)

        def projection(name: str, model: str, choice: str, size: int) -> None:
            constraint = constraint_of(model, choice)
            if not constraint.synchronizes:  # at numbers, of which there are none here
                counts = count_projection(model, constraint, size)
                values["projections"][name] = {"model": model, "stability": choice, "size": size} | counts
                write_json(self.traffic, values)

        todo: Todo = {}
        for each in asked.models:
            name = f"{each.model}-d{each.size}" + ("-tied" if each.tied else "")
            todo[name] = partial(update, name, **each)
        for model, names in asked.constraints.items():
            for choice, size in itertools.product(names, asked.sizes):
                name = f"{model}-{choice}-d{size}"
                todo[name] = partial(projection, name, model, choice, size)
        return todo


def _load(config: DictConfig) -> Task:
    return make(config.dataset).load()
