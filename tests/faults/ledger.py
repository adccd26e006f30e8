"""What was injected and what came of it: the table at the end of the tests of faults."""

import time
from dataclasses import dataclass, field


@dataclass
class _Row:
    injected: int = 0
    survived: int = 0
    lost: int = 0
    wrong: int = 0
    seconds: float = 0.0


@dataclass
class Ledger:
    """Faults by name; ``outcome`` is "" if nothing was lost and all was as it would have been without the fault."""

    rows: dict[str, _Row] = field(default_factory=dict)
    seed: int | None = None  # of what was drawn
    _since: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        self._since = time.monotonic()

    def settle(self, fault: str, injected: int, outcome: str = "") -> None:
        row = self.rows.setdefault(fault, _Row())
        row.injected += injected
        row.survived += 0 if outcome else injected
        row.lost += outcome.startswith("lost")
        row.wrong += bool(outcome) and not outcome.startswith("lost")
        now = time.monotonic()
        row.seconds, self._since = row.seconds + now - self._since, now
        assert not outcome, f"{fault}: {outcome}"

    def lines(self) -> list[str]:
        head = f"{'fault':<66}{'injected':>9}{'survived':>9}{'lost':>6}{'wrong':>6}{'seconds':>9}"
        rows = [
            f"{name:<66}{row.injected:>9,}{row.survived:>9,}{row.lost:>6}{row.wrong:>6}{row.seconds:>9.1f}"
            for name, row in self.rows.items()
        ]
        every = self.rows.values()
        total = (
            f"{'all':<66}{sum(r.injected for r in every):>9,}{sum(r.survived for r in every):>9,}"
            f"{sum(r.lost for r in every):>6}{sum(r.wrong for r in every):>6}{sum(r.seconds for r in every):>9.1f}"
        )
        return [head, *rows, total]


LEDGER = Ledger()
