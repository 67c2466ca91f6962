"""Nodes with queues of their own, and what each is sent."""

from collections import Counter

from tests.unit.scheduling.scene import Scene

A = "a@h"


B = "b@h"


def placing(strategy="round_robin", **settings) -> Scene:
    """Two nodes with queues of their own, for a model that nobody has seen yet: 1 s a unit."""
    scene = Scene(placing=strategy, **({"lookahead_s": 2.0} | settings))
    show(scene, A)
    show(scene, B)
    return scene


def show(scene, name, **facts):
    scene.node(name, **({"queue": f"render.node.{name}", "memory_gb": 8.0} | facts))


def sent(scene, after_s=0.0):
    """Whose queue each unit was put into, unit by unit."""
    return {
        work: node
        for one in scene.round(after_s)
        for work, node in zip(one.units, one.slice.nodes or [""] * len(one.units), strict=True)
    }


def shares(placed):
    return dict(Counter(placed.values()))


def sent_while_alive(scene, *names):
    """What is sent in eight seconds in which *names* are heard and nothing is in any queue."""
    placed = {}
    for _ in range(8):
        scene.hand.now_s += 1.0
        for name in names:
            show(scene, name)
        placed |= sent(scene)
    return placed
