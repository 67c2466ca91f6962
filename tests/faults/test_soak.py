"""A short soak in every run of the tests; ``make soak SECONDS=3600`` is a long one."""

import pytest

from tests.faults.checker import told
from tests.faults.soak import Order, soak

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_no_tile_is_lost_and_no_job_is_without_an_end(tmp_path):
    order = Order(seconds=160, seed=7, faults=70, open_jobs=6, tile_ms="20-40")

    verdict = soak(order, tmp_path)

    assert verdict.accusations == [], told(verdict)
    assert verdict.faults >= 60
    assert len(verdict.classes) >= 10
    assert verdict.tiles >= 1000
