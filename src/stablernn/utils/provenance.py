"""Where a number comes from: the machine, the versions, the commit."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from stablernn import __version__


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = {name: metadata.version(name).split("+")[0] for name in ("torch", "numpy", "hydra-core")}
    # Not by its metadata: a checkout runs without being installed.
    return {"python": platform.python_version(), "stablernn": __version__, **packages}


def commit() -> str:
    """The checked-out commit, with ``-dirty`` behind it if tracked files differ; outside a checkout what
    STABLERNN_COMMIT says, or ``unknown``."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("STABLERNN_COMMIT", "unknown")
    return answer.stdout.strip() or "unknown"


def processor() -> str:
    """The name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
