import pytest
import torch

from app.manifests import read_runs
from tests.unit.workers.execution.scene import (
    BATCH,
    BOUNDED,
    FIRST,
    IN_TURN,
    MESSAGE,
    RENDER,
    ExitedError,
)


def test_a_model_that_does_not_fit_moves_its_units_like_one_that_lacks_room_later(
    executor, renderer, ledger
):
    def lack_memory():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    renderer.loading = lack_memory

    assert executor.execute(MESSAGE, BOUNDED)["status"] == "moved"
    assert ledger.failure("job") is None


def test_a_batch_that_does_not_fit_shrinks_until_it_does(executor, renderer, ledger, slept):
    renderer.fits = 1

    assert executor.execute(BATCH, FIRST)["status"] == "rendered"
    assert renderer.asked == [[3, 4, 5, 6], [3, 4], [3], [4], [5, 6], [5], [6]]
    assert [work.index for work in renderer.rendered] == [3, 4, 5, 6]
    assert slept == []
    assert ledger.failure("job") is None


def test_a_batch_shrinks_before_it_is_moved(executor, renderer):
    renderer.fits = 1

    assert executor.execute(BATCH, BOUNDED)["status"] == "rendered"


def test_a_unit_that_fits_nowhere_here_is_moved_to_a_bigger_pool(executor, renderer, ledger):
    renderer.fits = 0

    assert executor.execute(MESSAGE, BOUNDED)["status"] == "moved"
    assert renderer.asked == [[3]]
    assert ledger.failure("job") is None


def test_the_others_of_a_message_are_rendered_before_what_fits_nowhere_is_moved(
    executor, renderer, store
):
    def lack_memory():
        if renderer.asked[-1] == [4]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    renderer.during = lack_memory

    assert executor.execute(IN_TURN, BOUNDED)["status"] == "moved"
    assert [run.unit[-1] for run in read_runs(store, RENDER)] == ["3", "5", "6"]


def test_a_unit_that_lacked_memory_once_is_rendered_without_a_bigger_pool(executor, renderer):
    renderer.errors = [torch.OutOfMemoryError("CUDA out of memory")] * 2

    assert executor.execute(MESSAGE, FIRST)["status"] == "rendered"


def test_without_a_bigger_pool_the_failure_names_the_tile_and_the_memory(
    executor, renderer, ledger
):
    renderer.fits = 0

    assert executor.execute(BATCH, FIRST)["status"] == "failed"
    reason = ledger.failure("job")
    assert reason.startswith("tile 3 of image 0: cpu with ")
    assert reason.endswith(" GB has too little memory")


def test_a_lost_device_ends_the_process_and_fails_no_unit(executor, renderer, ledger):
    renderer.errors = [RuntimeError("CUDA error: an illegal memory access was encountered\n")]

    with pytest.raises(ExitedError):
        executor.execute(MESSAGE, FIRST)

    assert ledger.failure("job") is None
