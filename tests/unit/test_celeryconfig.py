from celery.concurrency.base import BasePool
from celery.concurrency.thread import TaskPool

from app.celery import celery


def test_running_tiles_are_cancelled_only_by_a_pool_that_can():
    can_cancel = TaskPool.terminate_job is not BasePool.terminate_job

    assert celery.conf.worker_cancel_long_running_tasks_on_connection_loss is can_cancel


def test_celery_raises_no_limit_from_a_thread_that_acknowledges():
    assert celery.conf.worker_enable_prefetch_count_reduction is False
