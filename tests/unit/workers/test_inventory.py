import json
from types import SimpleNamespace

import pytest

from app.cards import Catalogue, Kind
from app.domain.errors import ModelError
from app.own_node import OwnNode
from tests.support.card_model import write_card_model
from tests.support.waiting import wait_for
from workers.inventory import MOST_CHARS, Inventory, read_installed


class Folders:
    """A catalogue of *names* by kind."""

    def __init__(self, **names):
        self._names = names
        self.looks = 0
        self.error = None

    def names(self, kind):
        if self.error:
            raise self.error
        self.looks += kind is Kind.MODEL
        return self._names.get(kind.name, [])

    def card(self, name):
        if name == "broken":
            raise ModelError("model broken has no manifest.json")
        return SimpleNamespace(memory_gb=6.5)


def shown(node):
    return node.record()["installed"]


def test_all_that_is_in_the_folders_is_told_and_models_with_what_they_need(tmp_path):
    card = json.dumps({"memory_gb": 24.0})
    (write_card_model(tmp_path / "sdxl") / "tilechord.json").write_text(card)
    (tmp_path / "tile").mkdir()
    (tmp_path / "tile" / "config.json").write_text("{}")
    (tmp_path / "ink").mkdir()
    (tmp_path / "ink" / "ink.safetensors").write_bytes(b"")

    found = read_installed(Catalogue([tmp_path]))

    assert found["model"].keys() == {"atlas", "sdxl"}  # the bundled one is everywhere
    assert found["model"]["sdxl"] == 24.0
    assert found["model"]["atlas"] > 0
    assert (found["LoRA"], found["control network"]) == ({"ink": 0.0}, {"tile": 0.0})


def test_a_model_whose_card_cannot_be_read_is_told_without_memory():
    found = read_installed(Folders(MODEL=["broken", "sdxl"]))

    assert found["model"] == {"broken": 0.0, "sdxl": 6.5}


def test_of_a_kind_with_too_many_names_for_a_heartbeat_nothing_is_told():
    found = read_installed(Folders(MODEL=["sdxl"], LORA=[f"lora-{n}" for n in range(1000)]))

    assert found == {"model": {"sdxl": 6.5}, "control network": {}}
    assert len(json.dumps(found)) < MOST_CHARS


def test_a_node_tells_nothing_until_its_folders_were_read_and_does_not_read_them_to_beat():
    node, folders = OwnNode(), Folders(MODEL=["sdxl"])
    before = shown(node)

    Inventory(node, folders).look()

    assert (before, shown(node)["model"], shown(node)["model"]) == ({}, *2 * [{"sdxl": 6.5}])
    assert folders.looks == 1


@pytest.mark.parametrize("error", [OSError("stale file handle"), TypeError("unforeseen")], ids=repr)
def test_a_folder_that_cannot_be_read_ends_what_was_told(error):
    node, folders = OwnNode(), Folders(MODEL=["sdxl"])
    inventory = Inventory(node, folders)
    inventory.look()
    folders.error = error

    inventory.look()

    assert shown(node) == {}


def test_a_model_that_comes_later_is_found_until_the_worker_drains():
    node, folders = OwnNode(), Folders(MODEL=[])
    Inventory(node, folders, period_s=0.01).start()
    wait_for(lambda: shown(node).get("model") == {})

    folders._names = {"MODEL": ["sdxl"]}

    wait_for(lambda: shown(node).get("model") == {"sdxl": 6.5})
    node.drain("SIGTERM")
