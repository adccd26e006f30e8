"""A run among others: whatever happens to it, they go on."""

import torch
from omegaconf import DictConfig

from stablernn.config.identity import run_label
from stablernn.records.record import Record
from stablernn.training.interrupt import Interruption
from stablernn.training.run import run
from stablernn.utils.console import log
from stablernn.utils.errors import RunInUseError, StableRNNError, too_little_memory

# A record, or why there is none: the run failed, or another process is at work on it. Both are said.
Outcome = tuple[Record | None, str | RunInUseError]


def run_safely(config: DictConfig, shared: Interruption | None = None, beside: int = 1) -> Outcome:
    """``run``, with what ends it by mistake in its outcome.

    Raises:
        torch.OutOfMemoryError: the GPU has too little memory; that is for those to decide who share it.
    """
    try:
        return run(config, shared, beside), ""
    except torch.OutOfMemoryError:
        raise
    except RunInUseError as error:
        log.warning(f"left for the end: {error}")
        return None, error
    except StableRNNError as error:
        log.error(f"{run_label(config)} failed: {error}")
        return None, str(error)
    except Exception as error:
        if (told := too_little_memory(error)) is not None:
            log.error(f"{run_label(config)} failed: {told}")
            return None, told
        # A bug or a full disk: the other runs have a right to go on.
        log.exception(f"{run_label(config)} failed")
        return None, repr(error)
