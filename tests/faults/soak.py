"""Real servers and workers under a seeded series of faults, judged at the end.

``python -m tests.faults.soak --seconds 240 --seed 7 --report out.json``; ``make soak SECONDS=240``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from app.cluster.ports import LOOPBACK
from tests.faults.checker import Verdict, check, told
from tests.faults.fleet import Fleet
from tests.faults.ground import Ground
from tests.faults.history import History
from tests.faults.nemesis import Field, MissedError
from tests.faults.outcome import left, tell_outcomes
from tests.faults.requests import TENANTS
from tests.faults.schedule import ALL, Strike, schedule
from tests.faults.submitter import DIRECT_S3

Say = Callable[[str], None]

_ROOT = Path(__file__).parent.parent.parent
_FAULT_EVERY_S = 3.0
_SETTLE_S = 10.0


@dataclass(frozen=True)
class Order:
    """What one soak is asked to be."""

    seconds: float
    seed: int
    faults: int
    names: Sequence[str] = tuple(ALL)
    workers: int = 2
    open_jobs: int = 4
    tile_ms: str = "20-50"
    tile_batch: int = 2
    """Tiles that are rendered together."""
    placing: str = "least_loaded"
    drain_s: float = 90.0
    """How long after the last fault every job must have ended."""


def soak(order: Order, folder: Path) -> Verdict:
    """Run *order* in *folder*, where the history stays as ``history.jsonl``."""
    began, history = time.monotonic(), History(folder / "history.jsonl")

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:7.1f} s  {text}\n")

    history.add("order", **{name: str(value) for name, value in vars(order).items()})
    models = _models(folder)
    pools = {"control": "control"} | {f"w{n + 1}": "gpu" for n in range(order.workers)}
    with (
        Ground(folder, models, _settings(order), seed=order.seed) as ground,
        Fleet(ground, history, order.tile_ms) as fleet,
    ):
        field = Field(ground, fleet, history)
        ground.env("client")
        fleet.start(pools)
        say(f"ready: {', '.join(pools)}")
        with _client(field, order):
            _strike_all(field, order, say)
        _drain(field, order.drain_s, say)
        tell_outcomes(field, say)
    return check(history.events())


def _settings(order: Order) -> dict[str, str]:
    return {
        "TILECHORD_TENANTS": json.dumps(TENANTS),
        "TILECHORD_TILE_BATCH": str(order.tile_batch),
        "TILECHORD_PLACING": order.placing,
    }


def _strike_all(field: Field, order: Order, say: Say) -> None:
    strikes = schedule(order.seed, seconds=order.seconds, faults=order.faults, names=order.names)
    began, locks = time.monotonic(), defaultdict(threading.Lock)
    threads: list[threading.Thread] = []
    for number, strike in enumerate(strikes):
        time.sleep(max(0.0, began + strike.at_s - time.monotonic()))
        say(f"fault {number + 1} of {len(strikes)}: {strike.name}, {strike.hold_s} s")
        lock = locks[ALL[strike.name].subject or str(number)]
        thread = threading.Thread(target=_strike, args=(field, strike, lock), daemon=True)
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join(timeout=180)


def _strike(field: Field, strike: Strike, lock: threading.Lock) -> None:
    """One fault from injection to healing; what goes wrong in it is told as the harness's fault."""
    nemesis = ALL[strike.name](field)
    with lock:
        began = time.monotonic()
        try:
            try:
                details = nemesis.inject(Random(strike.seed))
                field.history.add("fault", name=strike.name, **details)
                time.sleep(strike.hold_s)
            finally:
                nemesis.heal()
                field.history.add("heal", name=strike.name, seconds=time.monotonic() - began)
        except MissedError as err:
            field.history.add("missed", name=strike.name, reason=str(err))
        except Exception as err:  # the soak goes on, the verdict tells
            field.history.add("broken", name=strike.name, reason=repr(err)[:300])


@contextmanager
def _client(field: Field, order: Order) -> Iterator[None]:
    """A process that orders pictures until the block ends."""
    ground, history = field.ground, field.history
    env = os.environ | ground.env("client")
    env |= {DIRECT_S3: f"{LOOPBACK}:{ground.site.ports['s3']}"}
    with (ground.folder / "client.log").open("wb") as log:
        arguments = [str(order.seed), str(order.open_jobs), str(history.path)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.submitter", *arguments],
            cwd=_ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            if process.poll() is not None:
                reason = (ground.folder / "client.log").read_text()[-500:]
                history.add("broken", name="client", reason=reason)
            process.communicate(timeout=60)


def _drain(field: Field, limit_s: float, say: Say) -> None:
    """Wait until every job has ended, and for what is taken away after the end."""
    deadline = time.monotonic() + limit_s
    while (jobs := field.open_jobs()) and time.monotonic() < deadline:
        say(f"{len(jobs)} jobs are open")
        time.sleep(2.0)
    settled = time.monotonic() + _SETTLE_S
    while left(field) and time.monotonic() < settled:
        time.sleep(0.5)


def _models(folder: Path) -> Path:
    from tests.support.tiny_model import build_tiny_model

    build_tiny_model(folder / "models" / "tiny")
    return folder / "models"


def _order(arguments: argparse.Namespace) -> Order:
    return Order(
        seconds=arguments.seconds,
        seed=arguments.seed,
        faults=arguments.faults or max(1, round(arguments.seconds / _FAULT_EVERY_S)),
        names=arguments.classes.split(",") if arguments.classes else tuple(ALL),
        workers=arguments.workers,
        open_jobs=arguments.open_jobs,
        tile_ms=arguments.tile_ms,
        tile_batch=arguments.tile_batch,
        placing=arguments.placing,
        drain_s=arguments.drain,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=1, help="decides faults and requests")
    parser.add_argument("--faults", type=int, default=0, help="one every 3 s unless told")
    parser.add_argument("--classes", default="", help="names, separated by commas; all unless told")
    parser.add_argument("--workers", type=int, default=2, help="rendering workers")
    parser.add_argument("--open-jobs", type=int, default=4, help="jobs the client keeps open")
    parser.add_argument("--tile-ms", default="20-50", help="how long a unit takes")
    parser.add_argument("--tile-batch", type=int, default=2, help="tiles rendered together")
    parser.add_argument("--placing", default="least_loaded", help="who gets a unit")
    parser.add_argument("--drain", type=float, default=90, help="seconds to end all jobs")
    parser.add_argument("--report", type=Path, help="where the verdict goes as JSON")
    parser.add_argument("--folder", type=Path, help="keep history and logs here")
    parser.add_argument("--list", action="store_true", help="list the classes of faults")
    arguments = parser.parse_args()
    if arguments.list:
        sys.stdout.write("\n".join(ALL) + "\n")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started
    order, began = _order(arguments), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tilechord-soak-") as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):  # another run's history and store would be judged with this one
            parser.error(f"--folder must be empty, got {folder}")
        verdict = soak(order, folder)
    sys.stdout.write(told(verdict) + "\n")
    if arguments.report:
        took = {"order": asdict(order), "wall_s": round(time.monotonic() - began, 1)}
        arguments.report.write_text(json.dumps(took | verdict.report(), indent=1) + "\n")
    return int(bool(verdict.accusations))


if __name__ == "__main__":
    sys.exit(main())
