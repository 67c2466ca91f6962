import io
import json
import logging

import pytest

from app.settings import LogFormat
from app.telemetry import logs


@pytest.fixture(autouse=True)
def _unnamed(monkeypatch):
    monkeypatch.setattr(logs, "_worker", {})


def line(log_format, level, event, *args, error=None, **fields):
    record = logging.LogRecord("x", level, "x.py", 1, event, args, error)
    record.created = 0.25
    vars(record).update(fields)
    return logs.EventFormatter(log_format).format(record)


def test_text_is_time_level_event_and_fields():
    text = line(LogFormat.TEXT, logging.INFO, "work.rendered", job_id="j1", seconds=1.25)

    assert text == "1970-01-01T00:00:00.250Z INFO work.rendered job_id=j1 seconds=1.25"


def test_a_value_with_spaces_is_quoted():
    text = line(LogFormat.TEXT, logging.INFO, "work.rendered", work="tile 7 of image 0")

    assert text.endswith('work="tile 7 of image 0"')


def test_a_line_break_in_a_value_or_message_forges_no_second_line():
    text = line(LogFormat.TEXT, logging.INFO, "refused %s", "a\nb", reason="x\ny")

    assert text == '1970-01-01T00:00:00.250Z INFO refused a b reason="x\\ny"'


def test_json_is_one_object_with_the_same_fields():
    text = line(LogFormat.JSON, logging.WARNING, "work.failed", job_id="j1", seconds=1.25)

    assert json.loads(text) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "WARNING",
        "event": "work.failed",
        "job_id": "j1",
        "seconds": 1.25,
    }


def test_a_traceback_is_a_field():
    try:
        raise ValueError("no")
    except ValueError as err:
        text = line(
            LogFormat.JSON,
            logging.ERROR,
            "work.crashed",
            error=(ValueError, err, err.__traceback__),
        )

    assert json.loads(text)["traceback"].endswith("ValueError: no")


def test_a_worker_names_itself_in_every_line():
    logs.set_worker("gpu-1@host")

    text = line(LogFormat.TEXT, logging.INFO, "metrics.served")

    assert text.endswith("metrics.served worker=gpu-1@host")


def test_logs_go_to_the_stream_once_and_celery_does_not_announce_each_message():
    root, strategy = logging.getLogger(), logging.getLogger("celery.worker.strategy")
    handlers, level, strategy_level = root.handlers[:], root.level, strategy.level
    stream = io.StringIO()
    try:
        logs.set_up_logging(logging.INFO, stream=stream)
        logging.getLogger("app.x").info("work.rendered", extra={"seconds": 1.0})
        strategy.info("Task x received")
    finally:
        root.handlers[:], root.level = handlers, level
        strategy.setLevel(strategy_level)

    assert stream.getvalue().count("\n") == 1
    assert "work.rendered seconds=1" in stream.getvalue()
