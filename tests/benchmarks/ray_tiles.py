"""The same tiles given out by Ray: ``python ray_tiles.py SPEEDS``, a JSON list.

Reads what each worker takes for each tile, every time, as JSON, and prints which of them ran which
tile, and when each began and ended.

A program of its own, so that Ray need not be installed beside tilechord.
"""

import json
import sys
import time

import ray
from ray.util import ActorPool


@ray.remote(num_cpus=0)
class Worker:
    def __init__(self, number: int, speed: float, repeats: list[list[float]]) -> None:
        self._number = number
        self._speed = speed
        self._repeats = repeats

    def ready(self) -> bool:
        return True

    def tile(self, repeat: int, index: int) -> tuple[int, int, float, float]:
        began_s = time.time()
        time.sleep(self._repeats[repeat][index] / self._speed)
        return self._number, index, began_s, time.time()


def main() -> None:
    speeds, repeats = json.loads(sys.argv[1]), json.load(sys.stdin)
    ray.init(num_cpus=len(speeds), include_dashboard=False, log_to_driver=False)
    workers = [
        Worker.remote(number, speed, [waits[number] for waits in repeats])
        for number, speed in enumerate(speeds)
    ]
    ray.get([worker.ready.remote() for worker in workers])
    pool = ActorPool(workers)
    done = []
    for repeat, waits in enumerate(repeats):
        tiles = [(repeat, index) for index in range(len(waits[0]))]
        done.append(list(pool.map_unordered(lambda one, tile: one.tile.remote(*tile), tiles)))
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main()
