"""The Celery tasks a client sends and a control worker runs; no torch.

Usage::

    from app.tasks import render

    result = render.delay({"prompt": "snow mountains", "width": 2048, "height": 1536})
    manifest = result.get()
"""

from app.tasks.control import advance, finish, merge
from app.tasks.render import render

__all__ = ["advance", "finish", "merge", "render"]
