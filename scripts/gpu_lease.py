"""Table 1 on a GPU that is to be had for minutes: python scripts/gpu_lease.py --help

    python scripts/gpu_lease.py check                     tests of the GPU path, then the speed
    python scripts/gpu_lease.py table --deadline 500      the table in at most so many seconds

out=folder gets speed.json, a table of it and records.tar.gz, runs=folder the runs. To bring the records home, unpack
the archive into results/records/lease/perplexity and call `make report`; the speeds are results/bench/lease-<GPU>.json
and .md. Further options: device=auto|cpu|cuda, profile=lease|smoke (smoke on a CPU unless it is given), at_once=runs
that share the device, certify=seconds kept for the certificates.
"""

import subprocess
import sys
import time
from pathlib import Path

from stablernn.benchmarks.lease_speed import measure
from stablernn.experiments import lease
from stablernn.training.build import pick_device
from stablernn.utils.console import configure_logging, log
from stablernn.utils.errors import ConfigurationError, StableRNNError

COMMANDS = ("check", "table", "speed")
OPTIONS = ("out", "runs", "profile", "device", "certify", "at_once")


def read(arguments: list[str]) -> tuple[str, dict[str, str], int]:
    """The command, its options and its deadline in seconds; raises ConfigurationError where one is unknown."""
    command, *rest = arguments
    if command not in COMMANDS:
        raise ConfigurationError(f"{command} is no command: choose check or table")
    seconds = "500"
    if "--deadline" in rest:
        at = rest.index("--deadline")
        seconds = "".join(rest[at + 1 : at + 2])
        if not seconds.isdecimal() or int(seconds) < 1:
            raise ConfigurationError(f"--deadline {seconds}: give it a whole number of seconds, as in --deadline 500")
        del rest[at : at + 2]
    for argument in rest:
        name, _, value = argument.partition("=")
        if name not in OPTIONS or not value:
            known = ", ".join(f"{name}=" for name in OPTIONS)
            raise ConfigurationError(f"{argument} is no option: choose of --deadline S, {known}, each with its value")
        if name in ("certify", "at_once") and not value.isdecimal():
            raise ConfigurationError(f"{argument}: give it a whole number")
    return command, dict(argument.split("=", 1) for argument in rest), int(seconds)


def run_command(arguments: list[str]) -> None:
    command, given, seconds = read(arguments)
    began = time.time() - time.process_time()  # imports of some seconds belong to a time that is paid for
    device = given.get("device", "auto")
    options = lease.Options(
        out=Path(given.get("out", "runs/lease")),
        runs=Path(given.get("runs", "runs/lease/runs")),
        profile=given.get("profile", "smoke" if pick_device(device).type == "cpu" else "lease"),
        device=device,
        at_once=int(given.get("at_once", lease.Options.at_once)),
        deadline=began + seconds,
        certify=float(given.get("certify", 0)),
    )
    match command:
        case "speed":
            lease.measure_speed(options)
        case "table":
            lease.table(options)
        case "check":
            check(options)


def check(options: lease.Options) -> None:
    """The tests, then the speeds, whatever becomes of the tests. Raises StableRNNError where one of them failed."""
    tests = [sys.executable, "-m", "pytest", "-q", str(Path(__file__).parents[1] / "tests" / "test_gpu.py")]
    try:
        passed = subprocess.run(tests, timeout=240, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        passed = False
    if pick_device(options.device).type == "cpu":
        log.warning("no GPU: nothing of the path on a GPU was tested")
    failed = ["tests"] * (not passed) + measure(options)
    if failed:
        raise StableRNNError(f"check: {', '.join(failed)}: failed or took too long, see above")


if __name__ == "__main__":
    configure_logging()
    if len(sys.argv) == 1 or {"--help", "-h"} & set(sys.argv):
        print(__doc__)
        sys.exit(0)
    try:
        run_command(sys.argv[1:])
    except StableRNNError as error:
        log.error(str(error))
        sys.exit(2)
