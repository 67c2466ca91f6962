import time

import pytest
import torch

from app.domain.errors import ConfigurationError
from app.domain.guard import Load
from app.settings import Settings, settings
from workers import sensors
from workers.sensors import FileSensor, MachineSensor, open_sensor

CPU = torch.device("cpu")


def stat(path, monkeypatch, *, busy, idle):
    """A kernel that has counted so many ticks of a hundredth of a second."""
    path.write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1\n")
    monkeypatch.setattr(sensors, "_STAT", path)


def test_a_file_tells_what_another_program_measured(tmp_path):
    (tmp_path / "load").write_text('{"gpu_memory": 0.5, "cpu": 1}')

    assert FileSensor(tmp_path / "load").read() == Load(gpu_memory=0.5, cpu=1.0)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"cpu": "much"}'],
    ids=["empty", "half", "list", "null", "word"],
)
def test_a_file_that_cannot_be_read_tells_nothing(tmp_path, text):
    (tmp_path / "load").write_text(text)

    assert FileSensor(tmp_path / "load").read() == Load()


def test_a_file_that_is_not_there_tells_nothing(tmp_path):
    assert FileSensor(tmp_path / "load").read() == Load()


def test_a_file_that_cannot_be_read_is_logged_once_until_it_can(tmp_path, caplog):
    path = tmp_path / "load"
    sensor = FileSensor(path)

    sensor.read()
    sensor.read()
    path.write_text("{}")
    sensor.read()
    path.write_text("{")
    sensor.read()

    told = [record for record in caplog.records if record.message == "sensor.blind"]
    assert [record.path for record in told] == [str(path), str(path)]
    assert "No such file" in told[0].reason


def test_a_file_may_leave_out_what_it_does_not_know(tmp_path):
    (tmp_path / "load").write_text('{"cpu": 0.25}')

    assert FileSensor(tmp_path / "load").read() == Load(cpu=0.25)


def test_the_machine_tells_what_part_of_its_cores_others_used(tmp_path, monkeypatch):
    monkeypatch.setattr(sensors.time, "process_time", lambda: 0.0)
    stat(tmp_path / "stat", monkeypatch, busy=1000, idle=1000)
    sensor = MachineSensor(CPU)
    stat(tmp_path / "stat", monkeypatch, busy=1075, idle=1025)

    assert sensor.read() == Load(cpu=0.75)


def test_what_this_process_computes_itself_is_not_counted(tmp_path, monkeypatch):
    own_s = iter([10.0, 10.5])
    monkeypatch.setattr(sensors.time, "process_time", lambda: next(own_s))
    stat(tmp_path / "stat", monkeypatch, busy=1000, idle=1000)
    sensor = MachineSensor(CPU)
    stat(tmp_path / "stat", monkeypatch, busy=1075, idle=1025)

    assert sensor.read() == Load(cpu=0.25)


def test_two_readings_within_one_tick_tell_nothing(tmp_path, monkeypatch):
    stat(tmp_path / "stat", monkeypatch, busy=1000, idle=1000)
    sensor = MachineSensor(CPU)

    assert sensor.read() == Load()


def test_a_system_without_these_counters_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sensors, "_STAT", tmp_path / "missing")

    assert MachineSensor(CPU).read() == Load()


def test_this_machine_can_be_asked():
    sensor = MachineSensor(CPU)
    end_s = time.monotonic() + 0.2
    while time.monotonic() < end_s:
        sum(range(1000))

    load = sensor.read()

    assert load.gpu_memory is None
    assert 0 <= load.cpu <= 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("none", type(None)), ("auto", MachineSensor), ("file:/run/load", FileSensor)],
    ids=["none", "auto", "file"],
)
def test_a_sensor_is_chosen_by_name(name, kind):
    assert isinstance(open_sensor(Settings(sensor=name).sensor, CPU), kind)


def test_an_unknown_sensor_is_refused(monkeypatch):
    monkeypatch.setenv("TILECHORD_SENSOR", "crystal ball")
    settings.cache_clear()
    try:
        with pytest.raises(ConfigurationError, match=r"^TILECHORD_SENSOR: .*, got 'crystal ball'$"):
            settings()
    finally:
        monkeypatch.undo()
        settings.cache_clear()
