"""The Celery application; ``celery -A app`` finds it here."""

from __future__ import annotations

from celery import Celery

celery = Celery("tilechord")
celery.config_from_object("celeryconfig")
