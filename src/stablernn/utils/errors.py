"""The errors that a user can act on; the command line prints them as one line and exits with code 2."""

import re
from pathlib import Path


class StableRNNError(Exception):
    """Base of every error of this package that is not a bug. Its text names the option and the remedy."""


class ConfigurationError(StableRNNError):
    """An option has a value that no run can be made of."""


class DataError(StableRNNError):
    """A data set is missing, incomplete, or not what it is said to be.

    Attributes:
        reason: the error without its remedy, for callers whose options have other names.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason


class MissingDataError(DataError):
    """A data set is not here, or not all of it."""


class NotApplicableError(StableRNNError):
    """The model is of a kind that this says nothing about."""


class CheckpointError(StableRNNError):
    """A checkpoint cannot be read, or belongs to another run."""


class DamagedFileError(StableRNNError):
    """A file of results is not as it was written; what it holds can be made again."""


class RecordError(StableRNNError):
    """A run record cannot be read."""


class DamagedRecordError(RecordError):
    """A run record is not as it was written; the run can be made again."""


class RunInUseError(StableRNNError):
    """Another process is at work on the run."""

    def __init__(self, message: str, folder: Path = Path()) -> None:
        super().__init__(message)
        self.folder = folder


class StorageError(StableRNNError):
    """A file cannot be written: the disk is full, or the folder does not allow it."""


class ExportError(StableRNNError):
    """An exported model does not compute what the model that it was made of computes."""


class MissingPackageError(StableRNNError):
    """A package is not installed that only drawing needs."""


class TrackingError(StableRNNError):
    """Weights & Biases does not answer, or not in time, or refuses."""


class SweepError(StableRNNError):
    """A sweep as a whole cannot run, or some of its runs failed (each was logged when it did)."""

    SOME_FAILED = (
        "some runs of the sweep failed (see above; jobs of submitit write to .sweep/.submitit in the folder of the "
        "runs); the others are recorded. The same command runs what is left"
    )


def too_little_memory(error: BaseException) -> str | None:
    """What to say of an error by which PyTorch or NumPy tells that memory is exhausted; None for any other."""
    text = str(error)
    told = isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text
    if not told:
        return None
    wanted = re.search(r"tried to allocate (\d+) bytes|(?:allocate) ([\d.]+ [KMGTPE]iB)", text)
    size = ""
    if wanted:
        size = f" for {int(wanted[1]) / 2**30:,.1f} GiB more" if wanted[1] else f" for {wanted[2]} more"
    return (
        f"too little memory{size}: choose a smaller model.hidden_size, training.batch_size or truncation.k, "
        "training.accumulate=4, or approximation.backbone.recompute=true"
    )
