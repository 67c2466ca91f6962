"""Trains the bundled model: ``python -m workers.models.train_atlas --help``.

The stages run in order, each resumable from its checkpoint: autoencoder, latents, denoiser,
binding, positions, export.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from rich.progress import Progress
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from app.cards import write_manifest
from workers.models.atlas_training.apart import told_apart
from workers.models.atlas_training.autoencoder import new_autoencoder, train_autoencoder
from workers.models.atlas_training.binding import deepened, teach_binding
from workers.models.atlas_training.diffusion import (
    Averages,
    new_denoiser,
    train_denoiser,
)
from workers.models.atlas_training.earth import fetch_earth, load_earth
from workers.models.atlas_training.export import export_folder, write_card
from workers.models.atlas_training.latents import (
    LatentSet,
    encode_crops,
    load_latents,
    standardise,
)
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.placing import write_placement
from workers.models.atlas_training.quarters import Code, Former, states_by_quarter
from workers.models.atlas_training.steering import (
    collect_queries,
    steer,
    teach_positions,
)
from workers.models.atlas_training.text import LAYERS, new_text_encoder, new_tokenizer
from workers.models.atlas_training.training import Stage, run_stage

FOLDER = Path(__file__).parent / "atlas"
WORK = Path(".tilechord/train")
QUERIES = 192
"""Noisy windows whose queries tell how to steer; more than a few hundred fill memory only."""
CAPTIONS = 300
"""Captions whose states tell which directions no state takes."""

app = typer.Typer(add_completion=False, help=__doc__)
Work = Annotated[Path, typer.Option(help="Checkpoints and data; never committed.")]
Minutes = Annotated[float, typer.Option(help="Time budget of the stage, interruptions excluded.")]
Warm = Annotated[bool, typer.Option(help="Start from the bundled weights if no checkpoint exists.")]
Compiled = Annotated[bool, typer.Option(help="A third faster; needs a C++ compiler.")]
Half = Annotated[bool, typer.Option(help="Compute in bfloat16; for processors with AMX.")]


@app.command()
def autoencoder(
    work: Work = WORK, minutes: Minutes = 60.0, seed: int = 0, warm: Warm = False
) -> None:
    """Stage 1: the autoencoder."""
    model = bundled().vae if warm else new_autoencoder()
    optimiser = Optimiser(model, matrix_lr=0.01, other_lr=1e-3)
    stage = Stage("autoencoder", work, minutes * 60, {"model": model, "optimiser": optimiser})
    stage.resume()
    earth = load_earth(fetch_earth(work / "data"))
    steps = train_autoencoder(
        model, earth, optimiser, progress=stage.progress, seed=seed + stage.steps
    )
    run_stage(stage, steps)


@app.command()
def latents(work: Work = WORK, count: int = 2500, seed: int = 0, warm: Warm = False) -> None:
    """Stage 2: encode crops, and fold the latents' scale into the autoencoder."""
    model = bundled().vae if warm else trained_autoencoder(work)
    earth = load_earth(fetch_earth(work / "data"))
    with Progress() as bar:
        task = bar.add_task("latents", total=count)
        encoded = encode_crops(model, earth, count=count, seed=seed, tick=lambda: bar.advance(task))
    if not warm:  # the bundled autoencoder's latents are what the bundled denoiser knows
        encoded = LatentSet(standardise(model, encoded.latents), encoded.shares)
    encoded.save(work / "latents.pt")
    torch.save(model.state_dict(), work / "standardised.pt")


@app.command()
def decoder(work: Work = WORK, minutes: Minutes = 60.0, seed: int = 0, warm: Warm = False) -> None:
    """Optional: train the decoder on, its latents untouched, so that the denoiser stays valid."""
    model = bundled().vae if warm else standardised_autoencoder(work)
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    optimiser = Optimiser(model, matrix_lr=0.004, other_lr=5e-4)
    stage = Stage("decoder", work, minutes * 60, {"model": model, "optimiser": optimiser})
    stage.resume()
    earth = load_earth(fetch_earth(work / "data"))
    steps = train_autoencoder(
        model, earth, optimiser, progress=stage.progress, seed=seed + 1 + stage.steps
    )
    run_stage(stage, steps)


@app.command()
def denoiser(
    work: Work = WORK,
    minutes: Minutes = 240.0,
    seed: int = 0,
    warm: Warm = False,
    compiled: Compiled = False,
    half: Half = False,
) -> None:
    """Stage 3: the denoiser and the text encoder, which is left alone once it knows positions."""
    tokenizer = kept_tokenizer(work, warm=warm)
    unet, text = (
        (bundled().unet, bundled().text_encoder)
        if warm
        else (new_denoiser(), new_text_encoder(tokenizer))
    )
    unet.to(memory_format=torch.channels_last)
    text.requires_grad_(text.config.num_hidden_layers == LAYERS)
    optimiser = Optimiser(unet, text, matrix_lr=0.02, other_lr=2e-3)
    averages = Averages(unet, text)
    parts = {"unet": unet, "text": text, "optimiser": optimiser, "averages": averages}
    stage = Stage("denoiser", work, minutes * 60, parts)
    stage.resume()
    if compiled:
        unet.compile()
    steps = train_denoiser(
        unet,
        text,
        tokenizer,
        load_latents(work / "latents.pt"),
        optimiser,
        progress=stage.progress,
        seed=seed + stage.steps,
        half=half,
    )
    run_stage(stage, steps, after_step=averages.update)


@app.command()
def binding(work: Work = WORK, minutes: Minutes = 35.0, seed: int = 0) -> None:
    """Stage 4: teach the text encoder, deepened, which subject lies where."""
    _, former = former_self(work)
    code, text = kept_code(work, former), deepened(former.text)
    optimiser = Optimiser(text, matrix_lr=0.008, other_lr=1e-3)
    stage = Stage("binding", work, minutes * 60, {"text": text, "optimiser": optimiser})
    stage.resume()
    steps = teach_binding(
        text, former, code, optimiser, progress=stage.progress, seed=seed + stage.steps
    )
    run_stage(stage, steps)


@app.command()
def positions(work: Work = WORK, minutes: Minutes = 16.0, seed: int = 0) -> None:
    """Stage 5: teach the denoiser to read, everywhere, what the text says of that place."""
    unet, former = former_self(work)
    code, latents = kept_code(work, former), load_latents(work / "latents.pt")
    teacher = told_apart(unet)
    queries = collect_queries(unet, former, latents, count=QUERIES, seed=seed)
    steer(unet, code, queries, sample_states(former, code))
    optimiser = Optimiser(unet, matrix_lr=0.002, other_lr=4e-4)
    stage = Stage("positions", work, minutes * 60, {"unet": unet, "optimiser": optimiser})
    stage.resume()
    steps = teach_positions(
        unet,
        teacher,
        former,
        taught_text(work, former.text),
        latents,
        optimiser,
        progress=stage.progress,
        seed=seed + stage.steps,
    )
    run_stage(stage, steps)


@app.command()
def export(work: Work = WORK, folder: Path = FOLDER) -> None:
    """Stage 6: write the weights as a diffusers folder."""
    tokenizer = kept_tokenizer(work)
    autoencoder = standardised_autoencoder(work)
    if (work / "decoder.pt").exists():
        autoencoder.load_state_dict(torch.load(work / "decoder.pt", weights_only=True)["model"])
    unet, text = averaged_denoiser(work, tokenizer)
    if (work / "binding.pt").exists():
        text = taught_text(work, text)
        unet.load_state_dict(torch.load(work / "positions.pt", weights_only=True)["unet"])
    export_folder(folder, autoencoder=autoencoder, unet=unet, text=text, tokenizer=tokenizer)


@app.command()
def manifest(folder: Path = FOLDER) -> None:
    """Write the card and the checksums again, after a file of the folder was edited."""
    write_card(folder)
    write_manifest(folder)


def kept_tokenizer(work: Path, *, warm: bool = False) -> CLIPTokenizer:
    """The tokenizer that this training began with.

    Its trainer numbers pieces of equal count in another order in every process; an embedding
    learnt under one number must be used under the same.
    """
    folder = work / "tokenizer"
    if not folder.exists():
        tokenizer = bundled().tokenizer if warm else new_tokenizer()
        tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def averaged_denoiser(
    work: Path, tokenizer: CLIPTokenizer
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The denoiser and the text encoder as stage 3 averaged them."""
    saved = torch.load(work / "denoiser.pt", weights_only=True)["averages"]
    layers = sum(name.endswith(".mlp.fc1.bias") for name in saved["modules"][1])
    averages = Averages(new_denoiser(), new_text_encoder(tokenizer, layers))
    averages.load_state_dict(saved)
    unet, text = averages.modules
    return unet, text


def former_self(work: Path) -> tuple[UNet2DConditionModel, Former]:
    """The denoiser and the text encoder before they learn positions."""
    tokenizer = kept_tokenizer(work)
    unet, text = averaged_denoiser(work, tokenizer)
    if text.config.num_hidden_layers != LAYERS:
        raise typer.BadParameter(
            f"the text encoder in {work / 'denoiser.pt'} must have {LAYERS} layers, got "
            f"{text.config.num_hidden_layers}: it has learnt positions already"
        )
    return unet, Former(text.requires_grad_(False).eval(), tokenizer)


def taught_text(work: Path, former: CLIPTextModel) -> CLIPTextModel:
    """The text encoder as stage 4 left it, from what it was before."""
    text = deepened(former)
    text.load_state_dict(torch.load(work / "binding.pt", weights_only=True)["text"])
    return text.requires_grad_(False).eval()


def kept_code(work: Path, former: Former) -> Code:
    """The directions that stages 4 and 5 agree on."""
    path = work / "code.pt"
    if not path.exists():
        rng = np.random.default_rng(5)
        captions = [write_placement(rng).caption for _ in range(CAPTIONS)]
        torch.save(Code.least_used(former.states(captions)).state_dict(), path)
    code = Code()
    code.load_state_dict(torch.load(path, weights_only=True))
    return code


def sample_states(former: Former, code: Code) -> Tensor:
    """States ``(20, 77, width)`` of captions with positions, as the taught encoder gives them."""
    rng = np.random.default_rng(6)
    drawn = (write_placement(rng) for _ in range(CAPTIONS))
    placed = [placement for placement in drawn if placement.is_placed][:20]
    return states_by_quarter(former, code, placed)


def bundled() -> StableDiffusionPipeline:
    """The committed model."""
    return StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32)


def trained_autoencoder(work: Path) -> AutoencoderKL:
    """The autoencoder as stage 1 left it."""
    model = new_autoencoder()
    model.load_state_dict(torch.load(work / "autoencoder.pt", weights_only=True)["model"])
    return model


def standardised_autoencoder(work: Path) -> AutoencoderKL:
    """The autoencoder as stage 2 left it: its latents have mean zero and deviation one."""
    model = new_autoencoder()
    model.load_state_dict(torch.load(work / "standardised.pt", weights_only=True))
    model.register_to_config(scaling_factor=1.0)
    return model


if __name__ == "__main__":
    app()
