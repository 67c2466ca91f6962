"""Commands about workers: ``worker`` starts one, ``workers`` lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import Json
from app.cli.output import note, say, say_json, say_table
from app.domain.work import Work

if TYPE_CHECKING:  # not before the command runs: the others start sooner without it
    from collections.abc import Iterator

    from app.nodes import CurrentStep, CurrentUnit, NodeRecord


def worker(
    queues: Annotated[str, typer.Option(help="Pools to serve, separated by commas.")] = "gpu",
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    name: Annotated[str, typer.Option(help="Name within this host.")] = "worker",
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics.")] = None,
) -> None:
    """Serve queues until stopped, one unit at a time.

    Checks broker, device, store and model first. A GPU serves exactly one pool.
    """
    from app.cli import serving
    from app.parents import end_with_parent

    end_with_parent()
    serving.configure(device=device, metrics_port=metrics_port)
    pools = serving.read_pools(queues)
    for line in serving.check(pools):
        note(line)
    serving.replace_process(pools, name)


def workers(json: Json = False) -> None:
    """List the nodes that serve queues, what they have and what they are doing.

    A node that was silent for three heartbeats is lost; it is listed for ten minutes more.
    """
    from app.bootstrap import runtime
    from app.nodes import read_nodes

    app = runtime()
    if app.settings.is_embedded:
        if json:
            say_json([])
        else:
            say("no broker is set: every render runs in the process that asks for it")
        return
    found = read_nodes(app.board, app.settings.heartbeat_s)
    if json:
        say_json([node.model_dump(mode="json") for node in found])
        return
    if not found:
        note("no worker is there; start one with: tilechord worker --queues control,gpu")
    say_table(_COLUMNS, map(_row, found))


_COLUMNS = ("worker", "state", "pool", "device", "free GB", "models", "labels", "unit", "since s")


def _row(node: NodeRecord) -> tuple[str, ...]:
    state = "lost" if node.is_lost else str(node.state)
    reason = f" ({node.reason})" if node.reason and not node.is_lost else ""
    labels = ",".join(f"{name}={value}" for name, value in sorted(node.labels.items()))
    cells = [
        node.node,
        f"{state}{reason}",
        node.pool,
        " ".join(filter(None, (node.device, node.device_name))),
        f"{node.free_memory_gb:.1f}/{node.memory_gb:.1f}" if node.memory_gb else "",
        ",".join(node.models),
        labels,
        ", ".join(_at_hand(node)),
        f"{_since_s(node):.1f}" if node.is_lost or _begun(node) else "",
    ]
    return tuple(cell or "-" for cell in cells)


def _at_hand(node: NodeRecord) -> Iterator[str]:
    for unit in node.at_hand:
        work = Work(unit.stage, unit.image, unit.phase, unit.index)
        yield f"{work.label} of {unit.job_id}"
    if node.step is not None:
        yield f"{node.step.label} of {node.step.job_id}"


def _begun(node: NodeRecord) -> CurrentUnit | CurrentStep | None:
    return node.current or node.step


def _since_s(node: NodeRecord) -> float:
    """How long a lost node has been silent, or how long its unit or step has been going on."""
    begun = _begun(node)
    return node.age_s + (begun.elapsed_s if begun and not node.is_lost else 0.0)
