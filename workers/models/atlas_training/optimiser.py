"""Muon for the weight matrices, AdamW for everything else, under one schedule."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix updates are orthogonalised; convolutions count as matrices.

    Jordan et al., "Muon: an optimizer for hidden layers" (2024). On two CPU cores the budget is
    samples, and it needs about half of what AdamW needs.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                buffer = state.setdefault("momentum", torch.zeros_like(parameter))
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(buffer, group["momentum"])
                update = orthogonalised(ahead.flatten(1))
                scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                parameter.add_(update.view_as(parameter), alpha=-group["lr"] * scale)


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """*matrix* ``(M, N)`` with all singular values moved near one, by Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if is_tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    update: Tensor = x.mT if is_tall else x
    return update


class Optimiser:
    """Both optimisers over *modules*, stepped together under one schedule."""

    def __init__(self, *modules: nn.Module, matrix_lr: float, other_lr: float):
        matrices, others = split_parameters(modules)
        self._parts: list[torch.optim.Optimizer] = [
            Muon(matrices, matrix_lr),
            torch.optim.AdamW(others, other_lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self._rates = (matrix_lr, other_lr)

    def step(self, progress: float) -> None:
        """Apply the gradients and clear them."""
        for part, rate in zip(self._parts, self._rates, strict=True):
            for group in part.param_groups:
                group["lr"] = rate * schedule(progress)
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, object]]:
        """What ``load_state_dict`` takes."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        """Continue where ``state_dict`` was taken."""
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def split_parameters(
    modules: Iterable[nn.Module],
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Hidden matrices and convolutions; then embeddings, first and last layers, vectors.

    Without those that are not to be trained.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            is_edge = any(edge in name for edge in ("conv_in", "conv_out", "embedding", "embed"))
            (others if parameter.ndim < 2 or is_edge else matrices).append(parameter)
    return matrices, others


def schedule(progress: float) -> float:
    """Warm-up over 2 %, constant, then linear to zero over the last 40 %."""
    return max(0.0, min(1.0, progress / 0.02, (1 - progress) / 0.4))
