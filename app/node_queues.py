"""Queues of single nodes, for strategies that choose who renders a unit."""

from __future__ import annotations

from typing import Any

from kombu import Exchange, Queue

from app.bindings import is_rendering, routing_word
from app.domain.scheduling.placement import Strategy
from app.queues import EXCHANGE, VERSION, queue_arguments
from app.settings import Settings

# What is sent to a node that has gone finds no queue here, and the broker passes it on to the
# exchange of the pools: its key begins with the pool, whose shared queue then has it.
NODES = Exchange(
    "render.nodes",
    type="topic",
    durable=True,
    arguments={"alternate-exchange": EXCHANGE.name},
)
_EXPIRY_S = 60.0
"""A queue that nobody takes from is deleted after this; its units were sent again long before."""


def strategy_of(settings: Settings, pool: str) -> Strategy:
    """How units of *pool* are placed; in one process, and in pools that render nothing, pulled."""
    chosen = settings.pool_placing.get(pool, settings.placing)
    renders = any(is_rendering(key) for key in settings.pools.get(pool, []))
    return chosen if renders and not settings.is_embedded else Strategy.LEAST_LOADED


def node_queue_name(node: str) -> str:
    return f"render.node.{routing_word(node)}.v{VERSION}"


def node_queue(settings: Settings, node: str) -> Queue:
    """The queue that *node* alone takes from; with the arguments of the pools' queues."""
    return Queue(
        node_queue_name(node),
        exchange=NODES,
        routing_key=f"#.{routing_word(node)}",
        queue_arguments=queue_arguments(settings) | {"x-expires": round(1000 * _EXPIRY_S)},
        durable=True,
    )


def to_node(options: dict[str, Any], node: str) -> dict[str, Any]:
    """Publishing *options* of a pool, for one of its nodes; unchanged when none is named.

    The queue stays the pool's, which the publisher declares: nothing sent can vanish.
    """
    if not node:
        return dict(options)
    key = f"{options['routing_key']}.{routing_word(node)}"
    return options | {"exchange": NODES.name, "routing_key": key}
