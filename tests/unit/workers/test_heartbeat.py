import pytest
import torch

from app.telemetry.device import DeviceCollector
from workers import heartbeat
from workers.heartbeat import DeviceSensor, device_facts

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


@pytest.fixture
def gpu(monkeypatch):
    """What torch would tell of a GPU."""
    told = {
        "mem_get_info": lambda device: (20_500_000_000, 24_000_000_000),
        "get_device_name": lambda device: "RTX 9000",
        "current_device": lambda: 0,
        "utilization": lambda device: 35,
        "temperature": lambda device: 61,
    }
    for name, answer in told.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return torch.device("cuda")


def raising(error):
    def ask(device):
        raise error

    return ask


def samples(device):
    """What a scrape gets, by the end of the metric's name."""
    collector = DeviceCollector()
    collector.watch(DeviceSensor(device).read)
    return {
        sample.name.removeprefix("tilechord_device_"): (sample.labels, sample.value)
        for family in collector.collect()
        for sample in family.samples
    }


def test_a_scrape_gets_all_that_the_driver_tells(gpu):
    labels = {"device": "cuda:0", "device_name": "RTX 9000"}

    assert samples(gpu) == {
        "memory_bytes": (labels, 24e9),
        "memory_free_bytes": (labels, 20.5e9),
        "utilisation_ratio": (labels, 0.35),
        "temperature_celsius": (labels, 61.0),
    }


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("nvidia-ml-py does not seem to be installed"),
        RuntimeError("cuda driver can't be loaded, is cuda enabled?"),
        type("NVMLError_NotSupported", (Exception,), {})("Not Supported"),
    ],
    ids=["no binding", "no driver", "not of this GPU"],
)
def test_what_the_driver_does_not_tell_has_no_series_and_is_logged_once(
    gpu, monkeypatch, caplog, error
):
    caplog.set_level("INFO", "workers.heartbeat")
    monkeypatch.setattr(torch.cuda, "utilization", raising(error))
    sensor = DeviceSensor(gpu)

    states = [sensor.read() for _ in range(3)]

    assert {(state.utilisation, state.temperature_c) for state in states} == {(None, 61.0)}
    assert [record.message for record in caplog.records] == ["device.silent"]
    assert "utilisation_ratio" not in samples(gpu)


def test_a_device_that_fails_costs_a_scrape_its_own_series_alone(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", raising(RuntimeError("device lost")))

    assert samples(gpu) == {}


def test_a_machine_without_gpu_has_memory_alone(linux):
    assert samples(CPU).keys() == {"memory_bytes", "memory_free_bytes"}


def test_a_heartbeat_asks_the_driver_for_memory_alone(gpu, monkeypatch):
    for name in ("utilization", "temperature"):
        monkeypatch.setattr(torch.cuda, name, raising(AssertionError("asked")))

    assert device_facts(gpu)["free_memory_gb"] == 20.5


def test_a_worker_that_renders_nothing_has_no_series():
    assert [sample for family in DeviceCollector().collect() for sample in family.samples] == []
