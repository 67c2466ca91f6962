"""The same tiles given out by Ray: ``python ray_tiles.py SPEEDS SECONDS TIMES``, JSON lists.

Prints when each began and ended, every time.

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

    def tile(self, seconds: float) -> tuple[float, float]:
        began_s = time.time()
        time.sleep(seconds / self._speed)
        return began_s, time.time()


def main() -> None:
    speeds, seconds = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    ray.init(num_cpus=len(speeds), include_dashboard=False, log_to_driver=False)
    workers = [Worker.remote(speed) for speed in speeds]
    ray.get([worker.tile.remote(0.0) for worker in workers])
    pool = ActorPool(workers)
    done = [
        list(pool.map_unordered(lambda one, s: one.tile.remote(s), seconds))
        for _ in range(int(sys.argv[3]))
    ]
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main()
