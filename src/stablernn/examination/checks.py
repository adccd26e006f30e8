"""What a network of one's own cannot be examined on, refused in a line that says what would do."""

import os.path
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from stablernn.examination.network import is_unbounded
from stablernn.models.heads.base import Head
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.features import Features
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.heads.vector import VectorHead
from stablernn.models.sequence_model import Frames, SequenceModel
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.escaping import visible
from stablernn.utils.wording import counted

WEIGHTS = "a file of torch.save or of safetensors"
FILE = "a text (UTF-8), or a .npy file of ids (N,) or of frames (N, E)"
_SHOWN = 100  # characters of a name


def check_file(option: str, path: str | Path, wanted: str) -> None:
    """Refuse what is no file that can be read more than once.

    Raises:
        ConfigurationError: says what is wanted.
    """
    given = f"{option}={visible(str(path))[:_SHOWN]}"
    if os.path.isdir(path):
        raise ConfigurationError(f"{given} is a folder: name {wanted}")
    if not os.path.exists(path):
        raise ConfigurationError(f"{given} does not exist: name {wanted}")
    if not os.path.isfile(path):
        raise ConfigurationError(f"{given} is a pipe or a device, and is read more than once: name {wanted}")


def check_vocabulary(paths: Sequence[str | Path]) -> None:
    """``check_file`` of a list, or of the texts that a network was trained on, of which one path may be the folder."""
    for path in paths:
        if len(paths) > 1 or not os.path.isdir(path):
            check_file("vocabulary", path, "a list with a word a line, or the texts that the network was trained on")


def check_targets(model: SequenceModel, split: Split | Sequences) -> None:
    """Refuse what the outputs of a model cannot be scored on.

    Raises:
        ConfigurationError: says what they can.
    """
    head, targets = model.objective, (split.targets,) if isinstance(split, Split) else split.items
    if isinstance(head, Features):
        return
    outputs = head.outputs
    sizes = {part.shape[1:] for part in targets}
    least, most = min(part.min() for part in targets if len(part)), max(part.max() for part in targets if len(part))
    features = "or give no decoder (decoder=none), and the features are examined"
    if isinstance(head, VectorHead):
        if sizes != {(outputs,)}:
            raise ConfigurationError(
                f"decoder: it has {counted(outputs, 'output')}, each a number of its own, and what comes next in the "
                f"data is {_items(sizes)}: give the decoder that predicts the next item, {features}"
            )
        if isinstance(head, Bernoulli) and not 0 <= least <= most <= 1:
            raise ConfigurationError(
                f"outputs=bernoulli: each is off or on, 0 or 1, and the entries of the data go from {least:g} to "
                f"{most:g}: give data of 0 and 1, {features}"
            )
    elif sizes != {()}:
        raise ConfigurationError(
            f"outputs=categorical: one of {counted(outputs, 'output')} comes, and what comes next in the data is "
            f"{_items(sizes)}: say outputs=bernoulli if each output is off or on, {features}"
        )
    elif most >= outputs:
        raise ConfigurationError(
            f"decoder: it has {counted(outputs, 'output')}, and the data have the id {most}: give the decoder that has "
            f"an output for each id, {features}"
        )


def _items(sizes: Iterable[tuple[int, ...]]) -> str:
    size = next(iter(sizes))
    return f"a frame of {counted(size[0], 'entry')}" if size else "an id"


def check_ids(parts: Sequence[np.ndarray], types: int, head: Head) -> None:
    """Raises ConfigurationError where an embedding of so many rows has none for an id, or for what is predicted."""
    if isinstance(head, FullSoftmax) and head.outputs > types:
        raise ConfigurationError(
            f"decoder: it has {counted(head.outputs, 'output')}, and the embedding has {counted(types, 'row')}, so it "
            "predicts something else than the next id: give the decoder that does, or give no decoder (decoder=none), "
            "and the features are examined"
        )
    for part in parts:
        if part.dtype.kind not in "iu" or part.min() < 0 or part.max() >= types:
            raise ConfigurationError(
                f"data: ids must be whole numbers from 0 to {types - 1}, as the embedding has rows"
            )


def check_frames(parts: Sequence[np.ndarray], model: SequenceModel) -> None:
    """Raises ConfigurationError where a model reads no such frames."""
    frames = model.inputs
    assert isinstance(frames, Frames)
    if any(part.shape[1] != frames.embedding_dim for part in parts):
        raise ConfigurationError(
            f"data: frames must have {counted(frames.embedding_dim, 'entry')}, as rnn.input_size says"
        )
    if not all(part.dtype.kind in "iufb" and np.isfinite(part).all() for part in parts):
        raise ConfigurationError("data: some entries of the frames are NaN, infinite or no numbers: leave them out")
    if is_unbounded(model):
        return
    least, most = min(part.min() for part in parts), max(part.max() for part in parts)
    if not frames.low <= least <= most <= frames.high:
        raise ConfigurationError(
            f"data: entries from {least:g} to {most:g} lie outside bounds=({frames.low:g}, {frames.high:g}): give "
            f"the bounds that hold, as in bounds=[{least:g},{most:g}]"
        )
