"""One installation in a folder: its settings, its store, and ways to run the command line."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner, Result

from app.bootstrap import build_runtime
from app.cli import cli
from app.entries import KEEPER
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from tests.support.forked import ROOT, Forked, started


@dataclass(frozen=True)
class Installation:
    """Settings that keep everything below *root*; models from *models*."""

    root: Path
    models: Path
    model: str
    overrides: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def variables(self) -> dict[str, str]:
        return {
            "TILECHORD_BROKER_URL": "memory://",
            "TILECHORD_STORE_URL": f"file://{self.store}",
            "TILECHORD_MODELS_PATH": str(self.models),
            "TILECHORD_MODEL": self.model,
            "TILECHORD_THREADS": "1",
            **self.overrides,
        }

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TILECHORD_")}
        return inherited | self.variables

    def blobs(self) -> list[str]:
        """Every file in the store but its lock and what keeps the line's folder, sorted."""
        files = (path for path in self.store.rglob("*") if path.is_file())
        names = sorted(path.relative_to(self.store).as_posix() for path in files)
        return [name for name in names if name != ".lock" and not name.endswith(KEEPER)]

    def accept(self, job_id: str) -> None:
        """Put a job into the store as it is once it is planned."""
        app = build_runtime(
            Settings(store_url=self.store.as_uri(), models_path=[self.models], model=self.model)
        )
        request = read_request({"prompt": "a hill", "width": 64, "height": 64})
        app.ledger.accept(job_id, request, plan_request(request, app.catalogue, app.settings))

    def invoke(self, *arguments: str) -> Result:
        """The command line in this process."""
        return CliRunner().invoke(cli, list(arguments), prog_name="tilechord")

    def start(self, *arguments: str) -> Forked:
        """The command line in its own process."""
        return Forked(["-m", "app.cli", *arguments], env=self.environment, cwd=self.root)

    def run(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return _finish(self.start(*arguments), timeout_s)

    def python(self, code: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A client program in a process that has imported nothing before."""
        env = self.environment | {"PYTHONPATH": str(ROOT)}
        return _finish(started(["-c", code], env=env, cwd=self.root), timeout_s)


def _finish(
    process: Forked | subprocess.Popen[str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"no end after {timeout_s} s: {out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode or 0, out, err)
