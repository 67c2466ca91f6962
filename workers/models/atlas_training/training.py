"""What every training stage shares: time budget, checkpoints, progress bar and loss log."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

CHECKPOINT_EVERY_S = 180.0
# A longer step was a pause of the process, which must not eat the budget.
LONGEST_STEP_S = 30.0


class Stateful(Protocol):
    """Anything a checkpoint can carry."""

    def state_dict(self) -> object:
        """The state to save."""

    def load_state_dict(self, state: Any, /) -> object:
        """Continue from a saved state."""


@dataclass
class Stage:
    """One resumable training stage: seconds spent, steps done, and the parts to save."""

    name: str
    folder: Path
    budget_s: float
    parts: dict[str, Stateful]
    spent_s: float = 0.0
    steps: int = 0
    _since: float = field(default_factory=lambda: time.monotonic())

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.folder / f"{self.name}.pt"

    def progress(self) -> float:
        """The share of the time budget that is used, across interruptions."""
        now = time.monotonic()
        self.spent_s += min(now - self._since, LONGEST_STEP_S)
        self._since = now
        return min(1.0, self.spent_s / self.budget_s)

    def resume(self) -> bool:
        """Continue from the checkpoint if there is one."""
        if not self.path.exists():
            return False
        saved = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.spent_s, self.steps = saved["spent_s"], saved["steps"]
        self._since = time.monotonic()
        return True

    def save(self) -> None:
        """Write the checkpoint; a reader sees the old one or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {name: part.state_dict() for name, part in self.parts.items()}
        fresh = self.path.with_suffix(".part")
        torch.save({**state, "spent_s": self.spent_s, "steps": self.steps}, fresh)
        fresh.replace(self.path)

    def log(self, losses: dict[str, float]) -> None:
        """Append one line to the loss log beside the checkpoint."""
        line = {"step": self.steps, "spent_s": round(self.spent_s, 1)}
        line |= {key: round(value, 5) for key, value in losses.items()}
        with (self.folder / f"{self.name}.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")


def run_stage(
    stage: Stage, steps: Iterator[dict[str, float]], *, after_step: Callable[[], None] | None = None
) -> None:
    """Run *steps* to the end of the stage's budget, with a bar, a loss log and checkpoints."""
    smooth: dict[str, float] = {}
    saved_at = time.monotonic()
    stage.folder.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(stage.name, total=stage.budget_s)
        for losses in steps:
            stage.steps += 1
            for key, value in losses.items():
                smooth[key] = value + 0.98 * (smooth.get(key, value) - value)
            if after_step is not None:
                after_step()
            if stage.steps % 20 == 0:
                stage.log(smooth)
                text = " ".join(f"{key} {value:.4f}" for key, value in smooth.items())
                bar.update(task, description=f"{stage.name} {stage.steps} {text}")
            bar.update(task, completed=stage.spent_s)
            if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                stage.save()
                saved_at = time.monotonic()
    stage.save()
