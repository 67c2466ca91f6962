"""The same tiles given out by Ray: ``python ray_tiles.py SPEEDS SECONDS``, both JSON lists.

A program of its own, so that Ray need not be installed beside tilechord.
"""

import json
import sys
import time

import ray
from ray.util import ActorPool


@ray.remote(num_cpus=0)
class Worker:
    def __init__(self, speed: float) -> None:
        self._speed = speed

    def tile(self, seconds: float) -> None:
        time.sleep(seconds / self._speed)


def main() -> None:
    speeds, seconds = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    ray.init(num_cpus=len(speeds), include_dashboard=False, log_to_driver=False)
    workers = [Worker.remote(speed) for speed in speeds]
    ray.get([worker.tile.remote(0.0) for worker in workers])
    start = time.perf_counter()
    for _ in ActorPool(workers).map_unordered(lambda one, s: one.tile.remote(s), seconds):
        pass
    sys.stdout.write(f"{time.perf_counter() - start}\n")


if __name__ == "__main__":
    main()
