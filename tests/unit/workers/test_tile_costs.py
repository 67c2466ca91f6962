import json
import re
from itertools import count

import pytest
import typer
from typer.testing import CliRunner

from app.bootstrap import runtime
from app.cards import Catalogue, write_manifest
from app.domain.errors import InvalidRequestError
from app.settings import settings
from tests.support.tiny_model import build_tiny_model
from workers.models.tile_costs import default_sizes, main, measure, read_size


@pytest.fixture
def models(tmp_path, monkeypatch):
    build_tiny_model(tmp_path / "models" / "small")
    monkeypatch.setenv("TILECHORD_MODELS_PATH", str(tmp_path / "models"))
    monkeypatch.setenv("TILECHORD_THREADS", "1")
    caches = (settings, runtime)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path / "models"
    for cache in caches:
        cache.cache_clear()


def measured(*arguments):
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, ["small", *arguments])


def test_the_printed_line_is_what_a_card_takes(models):
    result = measured("--sizes", "48,80", "--rounds", "1")

    *lines, last = result.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["48 px", "64 px", "80 px"]
    assert "1.00 of native\t1.00 by area" in lines[1]
    path = models / "small" / "tilechord.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | json.loads(last)))
    write_manifest(models / "small")
    costs = Catalogue([models]).card("small").tile_costs
    assert [size for size, _ in costs] == [48, 80]
    assert all(seconds > 0 for _, seconds in costs)


def test_a_slow_moment_does_not_count(tiny):
    """Two sizes, five rounds: one step of each takes a hundred times as long."""
    ticks = count()

    def clock():
        step, is_end = divmod(next(ticks), 2)
        lasts = 100.0 if step in (4, 5) else 1.0 + step % 2
        return lasts if is_end else 0.0

    assert measure(tiny, [96, 64], 5, clock) == {64: 1.0, 96: 2.0}


def test_sizes_around_the_native_one_are_tried_on_the_networks_grid(tiny):
    assert default_sizes(tiny.card) == [48, 64, 80, 96, 112, 128]


@pytest.mark.parametrize("text", ["0", "-64", "66", "wide", ""])
def test_an_edge_that_no_tile_can_have_is_refused(tiny, text):
    said = f"--sizes must be multiples of 4 px, got {text!r}"

    with pytest.raises(InvalidRequestError, match=f"^{re.escape(said)}$"):
        read_size(text, tiny.card)
