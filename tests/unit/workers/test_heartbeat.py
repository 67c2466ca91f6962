import pytest
import torch

from workers import heartbeat
from workers.heartbeat import device_facts

CPU = torch.device("cpu")


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """What Linux would tell of a machine."""
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4000000 kB\n")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Twelve Cores\n")
    monkeypatch.setattr(heartbeat, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(heartbeat, "_CPUINFO", tmp_path / "cpuinfo")
    heartbeat._processor.cache_clear()
    yield tmp_path
    heartbeat._processor.cache_clear()


def test_a_machine_without_gpu_tells_its_processor_and_its_memory(linux):
    facts = device_facts(CPU)

    assert (facts["device"], facts["device_name"]) == ("cpu", "Twelve Cores")
    assert facts["free_memory_gb"] == 4.1
    assert facts["memory_gb"] > 0


def test_where_linux_tells_nothing_all_memory_counts_as_free(linux):
    for name in ("meminfo", "cpuinfo"):
        (linux / name).unlink()

    facts = device_facts(CPU)

    assert facts["free_memory_gb"] == facts["memory_gb"]
    assert isinstance(facts["device_name"], str)


def test_a_gpu_tells_its_number_its_name_and_its_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20_500_000_000, 24e9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "RTX 9000")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)

    assert device_facts(torch.device("cuda")) == {
        "device": "cuda:1",
        "device_name": "RTX 9000",
        "memory_gb": 24.0,
        "free_memory_gb": 20.5,
    }
    assert device_facts(torch.device("cuda", 3))["device"] == "cuda:3"
