"""What a tile of one megapixel costs beside its rendering: processor time and bytes of the broker.

Run: ``python -m tests.benchmarks.bench_overhead [TILES [flower]]``. Real RabbitMQ, Redis, S3, a
control worker and one rendering worker, whose tiles are noise that costs nothing to render: as many
numbers as a tile of one megapixel has in models of 4 latent channels (SD, SDXL) and of 16 (SD3,
Flux).
Processor time is all that the rendering worker's process uses from its first tile to its last, over
the tiles; *blob* is the part of it that a plain loop needs to make the same blobs. Bytes are what
crossed any connection to the broker, both ways, from before the order to after its last tile.
First each tile has a message of its own, as those have that take more than half a second to
render; then many share one, as short ones do. With ``flower``, that runs too: workers send it
Celery's events, three more messages for each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from app.cluster import servers
from app.cluster.lifecycle import bring_up
from app.cluster.local import server_tiers
from app.cluster.programs import flower
from app.cluster.service import Site
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from tests.benchmarks.bench_cluster import service_workers
from tests.benchmarks.ground import servers_in, tiny_env
from tests.benchmarks.service_worker import noise
from tests.support.cluster import Cluster
from tests.support.tiny_model import build_tiny_model
from tests.support.waiting import wait_for

# Of the tiny model, whose latents are 4 px wide instead of 8: 4 x 128 x 128 numbers, and four times
# as many, in the place of 16 channels.
_TILE_PX = {4: 512, 16: 1024}
_MESSAGES = {"each": "0.0001", "shared": "0.5"}
"""How long the tiles of one message may take, ``TILECHORD_MESSAGE_S``."""
_GOAL_CPU_MS = 15.0
_GOAL_BYTES = 4096
_LIMIT_S = 600.0


def main() -> None:
    tiles, *beside = sys.argv[1:] or ["144"]
    side = round(int(tiles) ** 0.5)
    console = Console()
    console.print("messages  channels  tiles  CPU ms/tile  of it blob  broker bytes/tile")
    for messages, message_s in _MESSAGES.items():
        with tempfile.TemporaryDirectory() as name:
            env = {"TILECHORD_MESSAGE_S": message_s}
            _measure(console, Path(name), side, messages, env, has_flower="flower" in beside)


def _measure(
    console: Console,
    folder: Path,
    side: int,
    messages: str,
    env: dict[str, str],
    *,
    has_flower: bool,
) -> None:
    for channels, tile_px in _TILE_PX.items():
        build_tiny_model(folder / "models" / f"of-{channels}", native_px=tile_px)
    log = folder / "cpu.log"
    with servers_in(folder) as site:
        env |= tiny_env(site, folder / "models") | {"CPU_LOG": str(log)}
        env |= {"TILECHORD_MAX_TILES": "1000000", "TILECHORD_MAX_CANVAS_MPX": "1000000"}
        cluster = Cluster(env, folder)
        with service_workers(cluster, workers=1, seconds=0.0):
            if has_flower:  # which asks the workers for events once it is there
                tiers = [*server_tiers(site), [flower(site)]]
                bring_up(site.folder, tiers, site.ports.known, console.print)
            for channels in _TILE_PX:
                cluster.client("render", _order(channels, 1, seed=1))  # loads what it needs
                before = _bytes(site)
                plan = _run_tiles(cluster, _order(channels, side, seed=2))
                console.print(f"{messages:>8}", end="")
                _tell(console, channels, plan, log, _bytes(site) - before)


def _order(channels: int, side: int, seed: int) -> dict[str, object]:
    """A request of *side* by *side* tiles in one phase."""
    length = side * _TILE_PX[channels]
    size = {"height": length, "width": length, "overlap": 0}
    model = {"model": f"of-{channels}"}
    return {"prompt": "b", "mode": "refine", "nsr": 0.25, "seed": seed, **model, **size}


def _run_tiles(cluster: Cluster, order: dict[str, object]) -> RenderPlan:
    """Render the tiles of *order*, and none of the cores that would follow."""
    ledger = cluster.runtime.ledger
    job_id = cluster.client("submit", order)["job_id"]
    wait_for(lambda: ledger.has_plan(job_id), limit_s=_LIMIT_S)
    plan = ledger.plan(job_id)
    count = len(plan.phases[0].tiles)
    wait_for(
        lambda: sum(run.stage is Stage.TILE for run in cluster.runs(job_id)) >= count,
        limit_s=_LIMIT_S,
        every_s=1.0,  # it lists all runs
    )
    ledger.cancel(job_id)
    return plan


def _bytes(site: Site) -> int:
    """What has crossed the connections to the broker that are open now."""
    command, env = servers.rabbitmqctl(
        site, "list_connections", "-q", "--no-table-headers", "recv_oct", "send_oct"
    )
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return sum(map(int, done.stdout.split()))


def _tell(console: Console, channels: int, plan: RenderPlan, log: Path, crossed: int) -> None:
    count = len(plan.phases[0].tiles)
    spent = [float(line) for line in log.read_text().split()][-count:]
    cpu_ms = 1e3 * (spent[-1] - spent[0]) / (count - 1)
    start = time.process_time()
    for index in range(count):
        noise(plan, Work(Stage.TILE, 0, 0, index))
    blob_ms = 1e3 * (time.process_time() - start) / count
    console.print(
        f"  {channels:>8} {count:>6} {cpu_ms:>12.1f} {blob_ms:>11.1f} {crossed / count:>18.0f}"
    )
    if cpu_ms > _GOAL_CPU_MS or crossed > _GOAL_BYTES * count:
        console.print(f"more than {_GOAL_CPU_MS:g} ms or {_GOAL_BYTES} bytes")


if __name__ == "__main__":
    main()
