"""Seams repaired with trained weights: where tiles only touched, nothing shows any longer."""

from __future__ import annotations

import re
from pathlib import Path

from app.domain.quality.gates import MAX_SEAM_Z
from tests.support.installation import Installation


def test_repaired_seams_pass_their_gate(tmp_path: Path) -> None:
    site = Installation(tmp_path, tmp_path / "models", "atlas")
    order = ("desert coast with turquoise shallows", "--size", "384x384", "--overlap", "0")

    done = site.run(
        *("render", *order, "--nsr", "3", "--steps", "2", "--seed", "3"),
        *("--repair-seams", "-o", "whole.png"),
        timeout_s=300,
    )

    assert done.returncode == 0, done.stderr
    told = re.search(r"seam_z was (\S+) and is (\S+)$", done.stderr, re.MULTILINE)
    assert told is not None, done.stderr
    before, after = map(float, told.groups())
    assert before > MAX_SEAM_Z > after
