"""A client may have a Celery application of its own: neither changes the other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDIO = """
from celery import Celery, current_app, shared_task

studio = Celery("studio", broker="memory://", backend="cache+memory://")
studio.config_from_object("celeryconfig")

@shared_task
def retouch():
    pass

from app.celery import celery as tilechord
from app.tasks import render

from celery.signals import before_task_publish, celeryd_init

class Worker:
    app = studio

options = {"master_name": "films"}
studio.conf.result_backend_transport_options = options
celeryd_init.send(sender="studio@a", instance=Worker, conf=studio.conf, options={})
headers = {}
before_task_publish.send(sender="studio.retouch", headers=headers, properties=headers)
print(current_app.main, retouch.app.main, render.app.main)
print(studio.conf.task_default_queue, tilechord.conf.task_default_queue)
print(studio.conf.task_acks_late, tilechord.conf.task_acks_late)
print(studio.conf.result_backend_transport_options == options, headers)
"""


@pytest.fixture
def studio(tmp_path):
    """What a program prints that has a celeryconfig.py of its own, first on its path."""
    (tmp_path / "celeryconfig.py").write_text("task_default_queue = 'studio'\n")
    (tmp_path / "studio.py").write_text(STUDIO)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "studio.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "TILECHORD_BROKER_URL": "memory://"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_shared_tasks_stay_with_the_clients_application(studio):
    current, *_ = studio

    assert current == "studio studio tilechord"


def test_each_application_has_its_own_configuration(studio):
    _, queues, acknowledged, _ = studio

    assert queues == "studio render.control.v1"
    assert acknowledged == "False True"


def test_a_clients_worker_and_messages_are_left_as_they_are(studio):
    assert studio[-1] == "True {}"
