import json

import pytest
import typer
from safetensors.torch import save_file
from typer.testing import CliRunner

from app.cards import file_sha256
from app.settings import Settings, settings
from workers.upscale.compact import SRVGGNetCompact
from workers.upscale.settings import main


@pytest.fixture
def network(tmp_path, spandrel):
    path = tmp_path / "own.safetensors"
    save_file(SRVGGNetCompact(features=8, convolutions=2).state_dict(), path)
    return path


def printed(*arguments):
    app = typer.Typer()
    app.command()(main)
    settings.cache_clear()
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    settings.cache_clear()
    return result.stdout


def test_the_printed_value_is_a_setting_whose_padding_is_computed(network, monkeypatch):
    monkeypatch.setenv("TILECHORD_UPSCALERS", printed("own", network))

    file = Settings().upscalers["own"]

    assert (file.path, file.sha256, file.padding) == (network, file_sha256(network), 4)


def test_networks_that_are_set_already_stay(network, monkeypatch):
    other = {"path": "/srv/other.pth", "sha256": "0" * 64, "padding": 7}
    monkeypatch.setenv("TILECHORD_UPSCALERS", json.dumps({"other": other}))

    value = json.loads(printed("own", network))

    assert value == {"other": other, "own": value["own"]}
