"""A short soak in every run of the tests; ``make soak SECONDS=3600`` is a long one."""

import sys

import pytest

from tests.faults.checker import told
from tests.faults.soak import Order, main, soak

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_no_tile_is_lost_and_no_job_is_without_an_end(tmp_path):
    order = Order(seconds=160, seed=7, faults=70, open_jobs=6, tile_ms="20-40")

    verdict = soak(order, tmp_path)

    assert verdict.accusations == [], told(verdict)
    assert verdict.faults >= 60
    assert len(verdict.classes) >= 10
    assert verdict.tiles >= 1000


def test_the_folder_of_another_soak_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "history.jsonl").write_text("")
    monkeypatch.setattr(sys, "argv", ["soak", "--folder", str(tmp_path)])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert f"--folder must be empty, got {tmp_path}" in capsys.readouterr().err
