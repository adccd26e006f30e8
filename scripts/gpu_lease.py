"""Table 1 on a GPU that is to be had for minutes: python scripts/gpu_lease.py --help

    python scripts/gpu_lease.py check                     tests of the GPU path, then the speed
    python scripts/gpu_lease.py table --deadline 500      the table in at most so many seconds

out=folder gets speed.json and records.tar.gz, runs=folder the runs. To bring the records home, unpack the archive into
results/records/perplexity and call `make report`. Further options: profile=lease|smoke, device=auto|cpu|cuda,
certify=seconds kept for the certificates.
"""

import subprocess
import sys
import time
from pathlib import Path

from stablernn.experiments import lease
from stablernn.utils.console import configure_logging

if __name__ == "__main__":
    configure_logging()
    arguments = sys.argv[1:]
    if not arguments or "--help" in arguments or "-h" in arguments:
        print(__doc__)
        sys.exit(0)
    if "--deadline" in arguments:
        at = arguments.index("--deadline")
        arguments[at : at + 2] = [f"until={time.time() + float(arguments[at + 1])}"]
    given = dict(argument.split("=", 1) for argument in arguments[1:])
    options = lease.Options(
        out=Path(given.get("out", "runs/lease")),
        runs=Path(given.get("runs", "runs/lease/runs")),
        profile=given.get("profile", "lease"),
        device=given.get("device", "auto"),
        deadline=float(given.get("until", time.time() + 500)),
        certify=float(given.get("certify", 0)),
    )
    match arguments[0]:
        case "speed":
            lease.measure_speed(options)
        case "train":
            lease.train(options)
        case "certify":
            lease.certify(options, given["run"])
        case "table":
            lease.table(options)
        case "check":
            options.out.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/test_gpu.py"], timeout=240, check=False)
            lease.phase("speed", options, 60)
