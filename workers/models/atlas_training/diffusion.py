"""The denoiser: its shape, its noise schedule and its training loop."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from workers.models.atlas_training.autoencoder import LATENT_CHANNELS
from workers.models.atlas_training.latents import LatentSet
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.text import TEXT_WIDTH, token_ids

# The optimiser costs as much as 24 examples, so fewer would be spent mostly on it.
BATCH = 64
NATIVE = 16
"""Latents on a side of a training window: 128 pixels."""
EMA_DECAY = 0.993


def new_scheduler() -> DDIMScheduler:
    """The noise schedule the model is trained on.

    Stable Diffusion ends at sigma 15, where the mean colour of so few latents still shows through
    the noise and pictures turn out grey; 0.02 ends at sigma 60, and stays finite.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def new_denoiser() -> UNet2DConditionModel:
    """An untrained denoiser of the bundled model's shape."""
    return UNet2DConditionModel(
        sample_size=NATIVE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
        use_linear_projection=True,
    )


class Averages:
    """A slowly moving average of *modules*: what is exported."""

    def __init__(self, *modules: nn.Module):
        self._live = modules
        self.modules = copy.deepcopy(modules)
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the live weights."""
        self._updates += 1
        decay = min(EMA_DECAY, (1 + self._updates) / (10 + self._updates))
        for mean, live in zip(self.modules, self._live, strict=True):
            torch._foreach_lerp_(list(mean.parameters()), list(live.parameters()), 1 - decay)

    def state_dict(self) -> dict[str, object]:
        """The state to save."""
        return {
            "modules": [module.state_dict() for module in self.modules],
            "updates": self._updates,
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continue from ``state_dict``."""
        for module, saved in zip(self.modules, state["modules"], strict=True):  # type: ignore[call-overload]
            module.load_state_dict(saved)
        self._updates = int(state["updates"])  # type: ignore[call-overload]


def train_denoiser(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    latents: LatentSet,
    optimiser: Optimiser,
    *,
    progress: Callable[[], float],
    seed: int,
    batch: int = BATCH,
    half: bool = False,
) -> Iterator[dict[str, float]]:
    """Train until *progress* reaches one; yields the loss of every step.

    With *half* the networks compute in bfloat16: twice as fast where the processor has AMX, and
    many times slower where it has not.
    """
    unet.set_attn_processor(AttnProcessor())  # torch's fused one takes longer backwards on a CPU
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    alphas = new_scheduler().alphas_cumprod
    while (done := progress()) < 1:
        clean, captions = latents.batch(rng, count=batch, size=NATIVE)
        clean = clean.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            states = text(token_ids(tokenizer, captions)).last_hidden_state
            loss = velocity_loss(unet, clean, states, sampled_steps(batch), alphas)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([*unet.parameters(), *text.parameters()], 1.0)
        optimiser.step(done)
        yield {"loss": float(loss.detach())}


def sampled_steps(batch: int) -> Tensor:
    """A timestep for each of *batch*: every second from all, the others from the noisier half.

    What lies where is decided while sigma is above 2, and that is the noisier half. One timestep
    per stratum: the loss of a small batch varies less.
    """
    level = (torch.arange(batch) + torch.rand(batch)) / batch
    level[1::2] = 0.5 + level[1::2] / 2
    return (level * 1000).long().clamp(max=999)


def velocity_loss(
    unet: UNet2DConditionModel, clean: Tensor, states: Tensor, steps: Tensor, alphas: Tensor
) -> Tensor:
    """Mean squared error of the predicted velocity (Salimans and Ho 2022, eq. 11).

    Unweighted: min-SNR weights vanish where sigma is above 3, and in so few latents that is where
    a prompt decides what is painted; with them, 700 steps taught hardly anything of the text.
    """
    signal = alphas[steps].sqrt()[:, None, None, None]
    sigma = (1 - alphas[steps]).sqrt()[:, None, None, None]
    noise = torch.randn_like(clean)
    predicted = unet(signal * clean + sigma * noise, steps, states).sample.float()
    error = (predicted - (signal * noise - sigma * clean)).square().mean(dim=(1, 2, 3))
    loss: Tensor = error.mean()
    return loss
