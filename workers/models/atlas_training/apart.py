"""The denoiser told apart: every quarter of the picture is given a text of its own.

It paints what each quarter asks for, so it is the teacher of positions.
"""

import copy

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from workers.models.atlas_training.quarters import quarter_of_positions


def cross_attentions(unet: UNet2DConditionModel) -> list[Attention]:
    """The layers of *unet* that read the text, in their order."""
    return [module for name, module in unet.named_modules() if name.endswith(".attn2")]


class Apart(nn.Module):
    """A cross-attention that answers every quarter of the picture by a text of its own."""

    def __init__(self, layer: Attention):
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, encoder_hidden_states: Tensor, **_: object) -> Tensor:
        """The states of the quarters' texts one after the other, ``(N, 4 * 77, width)``."""
        quarter = quarter_of_positions(round(hidden.shape[1] ** 0.5))
        answers = [self.layer(hidden, states) for states in encoder_hidden_states.chunk(4, 1)]
        chosen = torch.stack(answers)[quarter, :, torch.arange(len(quarter))]
        return chosen.transpose(0, 1)


def told_apart(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A frozen copy of *unet* that takes four texts, one for each quarter."""
    teacher = copy.deepcopy(unet).eval().requires_grad_(False)
    for name in [name for name, _ in teacher.named_modules() if name.endswith(".attn2")]:
        block = teacher.get_submodule(name.rpartition(".")[0])
        block.attn2 = Apart(block.attn2)
    return teacher
