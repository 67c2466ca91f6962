"""The command that keeps as many workers on this machine as the work needs."""

from __future__ import annotations

from typing import Annotated

import typer


def autoscale(
    maximum: Annotated[int, typer.Option("--max", min=1, max=256, help="Workers at most.")],
    minimum: Annotated[int, typer.Option("--min", min=0, max=256, help="Workers at least.")] = 0,
    pool: Annotated[str, typer.Option(help="The pool that they serve.")] = "gpu",
    target_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds of waiting work for each worker.")
    ] = 30.0,
    cooldown_s: Annotated[
        float, typer.Option(min=0, help="Seconds that fewer must be enough before one is drained.")
    ] = 60.0,
    grace_s: Annotated[
        float, typer.Option(min=0, help="Seconds for running units when this command ends.")
    ] = 60.0,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Start and drain workers on this machine by the predicted seconds of work that wait.

    Runs until it is stopped, and drains its workers then.
    """
    from app.cli import scaling

    scaling.check(pool, minimum, maximum)
    rule = scaling.ScalingRule(minimum, maximum, target_s, cooldown_s)
    scaling.run(pool, rule, device=device, grace_s=grace_s)
