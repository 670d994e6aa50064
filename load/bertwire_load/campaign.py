"""What is measured, in which order."""

from dataclasses import dataclass, field

from bertwire_core.errors import UserError
from bertwire_load.config import LoadConfig
from bertwire_load.measured import Measured
from bertwire_load.mix import parse_seconds
from bertwire_load.processes import Interrupted, Processes
from bertwire_load.search import Promise, Search
from bertwire_load.worker import Load


@dataclass
class Results:
    """What was measured so far.

    Attributes:
        measured: each load at each server, in order.
        promise: what the search of the highest rate goes by; None: there is none.
        best: by server, the highest rate that kept the promise; None: none kept it. Only servers whose search is done.
        interrupted: whether more was to be measured.
    """

    measured: list[Measured] = field(default_factory=list)
    promise: Promise | None = None
    best: dict[str, float | None] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def done(self) -> list[Measured]:
        """Return what has been measured, in part at least; an interruption leaves others without figures."""
        return [each for each in self.measured if each.turns]


class Campaign:
    """Measures all that the settings ask for.

    Args:
        config: the settings.
        processes: the client processes.
        results: takes what was measured, at an interruption too.
    """

    def __init__(self, config: LoadConfig, processes: Processes, results: Results) -> None:
        self._config, self._processes, self._results = config, processes, results

    def run(self) -> None:
        """Measure everything; at Ctrl-C end with what there is."""
        try:
            if self._config.find_max:
                self._search()
            else:
                self._sweep()
        except KeyboardInterrupt:
            self._results.interrupted = True

    def _sweep(self) -> None:
        config = self._config
        in_flight = [Load(concurrency=each) for each in config.concurrency]
        for load in in_flight or [Load(rate=each) for each in config.rate]:
            found = [Measured(address, load) for address in config.addresses]
            self._results.measured += found
            for turn in range(config.rounds if config.compare is not None else 1):
                # Each server is first as often as the other: a machine's slow drift adds to both.
                for server in sorted(range(len(found)), reverse=bool(turn % 2)):
                    self._measure(server, found[server], turn)

    def _search(self) -> None:
        config = self._config
        assert config.slo_p99 is not None  # noqa: S101 - the settings hold it
        promise = self._results.promise = Promise(parse_seconds(config.slo_p99) * 1e3, config.slo_errors)
        searches = [Search(config.rate[0]) for _ in config.addresses]
        turn = 0
        while not all(each.done for each in searches):
            for server, (address, search) in enumerate(zip(config.addresses, searches, strict=True)):
                if search.done:
                    continue
                measured = Measured(address, Load(rate=search.rate))
                self._results.measured.append(measured)
                self._measure(server, measured, turn)
                _require_verdict(measured, search)
                search.tell(kept=promise.kept(measured))
                if search.done:
                    self._results.best[address] = search.best
            turn += 1

    def _measure(self, server: int, measured: Measured, turn: int) -> None:
        where = f" at {measured.server}" if self._config.compare is not None else ""
        try:
            measured.add(self._processes.measure(server, measured.load, turn, f"{measured.load}{where}"))
        except Interrupted as stopped:
            measured.add(stopped.parts)
            raise


def _require_verdict(measured: Measured, search: Search) -> None:
    """Raise `UserError` where a measurement says nothing of the promise, so that the search cannot go on."""
    kept = "no rate kept the promise" if search.best is None else f"{Load(rate=search.best)} kept the promise"
    if not measured.calls:
        raise UserError(f"no call was due at {measured.load}; raise --duration ({kept} before)")
    if measured.failed["UNAVAILABLE"] == measured.calls:
        raise UserError(
            f"{measured.server} answers no more: every call at {measured.load} was UNAVAILABLE; {kept} before"
        )
