"""Where a command writes its results: into the user's own folder, unless publish=true."""

from pathlib import Path

from omegaconf import DictConfig

from stablernn.utils.errors import ConfigurationError
from stablernn.utils.project import CHECKOUT, CONFIG_FOLDER, in_checkout


def results_of(runs: str) -> Path:
    """The folder of tables of runs in ``runs``: the project's results/ where a command runs in it."""
    return Path("results") if in_checkout() else Path(runs) / "report"


def written_to(options: DictConfig) -> str:
    """The folder of what a command writes, for the summary of a sweep."""
    options = located(options) if "publish" in options else options
    return str(next(options[option] for option in ("out", "results", "runs") if options.get(option)))


def located(options: DictConfig) -> DictConfig:
    """A copy of ``options`` with every place that was left null filled in.

    With ``publish`` these are the files that the project commits: results/, conf/experiment/best and README.md.
    Without it everything goes below ``<runs>/report``, so that a checkout stays as it was.

    Raises:
        ConfigurationError: ``publish``, and the package is installed without a checkout.
    """
    if options.publish and CHECKOUT is None:
        raise ConfigurationError(
            "publish=true renews the files of a checkout of the project, and this package is installed without one: "
            "leave it out, and name folders by results= and winners="
        )
    options = options.copy()
    home = Path("results") if options.publish else Path(options.runs) / "report"
    places = {
        "results": str(home),
        "winners": str(CONFIG_FOLDER / "experiment" / "best" if options.publish else home / "best"),
        "readme": "README.md" if options.publish else None,
        "records": str(Path(options.get("results") or home) / "records" / "linear_systems"),
    }
    for option, place in places.items():
        if option in options and options[option] is None:
            options[option] = place
    return options
