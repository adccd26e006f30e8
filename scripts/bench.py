"""Step time against the plain PyTorch loop: python scripts/bench.py --help"""

from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table

from stablernn.analysis.speed import measure
from stablernn.cli import main
from stablernn.console import console
from stablernn.files import write_json
from stablernn.record import commit, processor, versions


def bench(options: DictConfig) -> None:
    with console.status("measuring"):
        times = measure(options.models, options.sizes, options.pairs)
    table = Table(title="One training step, batch 20, k = 35, 33,278 types")
    for head in ("model", "stability", "d", "ours (ms)", "plain (ms)", "plain / ours"):
        table.add_column(head, justify="left" if head in ("model", "stability") else "right")
    for t in times:
        row = (t.model, t.stability, t.size, f"{t.ours * 1e3:.0f}", f"{t.plain * 1e3:.0f}", f"{t.ratio:.2f}")
        table.add_row(*map(str, row))
    console.print(table)
    path = Path(options.results) / "bench" / "step.json"
    about = {"hardware": processor(), "versions": versions(), "commit": commit()}
    write_json(path, about | {"steps": [t.as_dict() for t in times]})
    console.print(f"written: {path}", highlight=False)


if __name__ == "__main__":
    main(bench, "bench")
