"""Model folders: finding them, reading their cards, verifying their files. No torch needed.

A model is a folder in the diffusers layout. ``manifest.json`` beside it lists the SHA-256 of
every file; ``tilechord.json``, optional, overrides the defaults of its card.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.domain.card import ModelCard
from app.domain.errors import ModelError, UnsupportedError
from app.domain.plan import canonical_json
from app.domain.schedule import NoiseSchedule

BUNDLED = Path(__file__).parent.parent / "workers" / "models"
MANIFEST = "manifest.json"
CARD = "tilechord.json"
_CHUNK_BYTES = 1 << 20
_DEFAULTS = ("native_size", "default_steps", "default_guidance", "default_sampler", "default_nsr")


class Catalogue:
    """The models in a list of folders, earlier folders first."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = [*folders, BUNDLED]

    def names(self) -> list[str]:
        """Names of all models found, sorted."""
        found = (path.parent.name for root in self._folders for path in root.glob("*/*.json"))
        return sorted({name for name in found if self._is_model(name)})

    def folder(self, name: str) -> Path:
        """Folder of model *name*. Raises ``ModelError`` when no folder has it."""
        if "/" in name or "\\" in name or name.startswith("."):
            raise ModelError(f"model must be a name without path separators, got {name!r}")
        for root in self._folders:
            if (root / name / "model_index.json").is_file():
                return root / name
        known = ", ".join(self.names()) or "none"
        raise ModelError(f"model {name!r} is not known; known models: {known}")

    def card(self, name: str) -> ModelCard:
        """Facts of model *name*, read from its configuration files."""
        return _read_card(self.folder(name))

    def _is_model(self, name: str) -> bool:
        return any((root / name / "model_index.json").is_file() for root in self._folders)


@lru_cache(maxsize=32)
def _read_card(folder: Path) -> ModelCard:
    index = _read_json(folder / "model_index.json")
    unet_class = (index.get("unet") or [None, None])[1]
    if unet_class != "UNet2DConditionModel" or "text_encoder_2" in index:
        raise UnsupportedError(
            f"model {folder.name} must be of the Stable Diffusion 1/2 kind, "
            f"got {index.get('_class_name')}"
        )
    vae = _Config(folder / "vae" / "config.json")
    levels = len(vae["block_out_channels"])
    scale = 2 ** (levels - 1)
    overrides = _read_json(folder / CARD) if (folder / CARD).is_file() else {}
    facts: dict[str, Any] = {
        "native_size": _Config(folder / "unet" / "config.json")["sample_size"] * scale,
    } | {name: overrides[name] for name in _DEFAULTS if name in overrides}
    return ModelCard(
        name=folder.name,
        revision=read_revision(folder),
        family="sd",
        latent_scale=scale,
        latent_channels=vae["latent_channels"],
        schedule=_read_schedule(folder / "scheduler" / "scheduler_config.json"),
        vae_levels=levels,
        vae_layers=vae["layers_per_block"],
        **facts,
    )


def _read_schedule(path: Path) -> NoiseSchedule:
    config = _read_json(path)
    if config.get("rescale_betas_zero_snr"):
        raise UnsupportedError(f"{path.name}: rescale_betas_zero_snr is not supported")
    known = {field.name for field in fields(NoiseSchedule)} - {"train_steps"}
    given = {name: value for name, value in config.items() if name in known}
    return NoiseSchedule(train_steps=config.get("num_train_timesteps", 1000), **given)


def read_revision(folder: Path) -> str:
    """SHA-256 over the manifest. Raises ``ModelError`` when there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelError(
            f"model {folder.name} has no {MANIFEST}; "
            f"check where its files come from, then run: tilechord models verify {folder} --write"
        )
    return hashlib.sha256(canonical_json(_read_json(path))).hexdigest()


def verify(folder: Path) -> int:
    """Compare every file with the manifest; returns the number of files.

    Raises ``ModelError`` naming the first file that is missing, changed, not listed, or of a
    format that can run code when it is loaded.
    """
    read_revision(folder)  # refuses a folder without a manifest
    listed = _Config(folder / MANIFEST)["files"]
    for name, expected in sorted(listed.items()):
        path = folder / name
        if not path.is_file():
            raise ModelError(f"model {folder.name}: {name} is in the manifest but not on disk")
        if (found := file_sha256(path)) != expected:
            raise ModelError(
                f"model {folder.name}: SHA-256 of {name} must be {expected[:12]}…, "
                f"got {found[:12]}…"
            )
    for path in _model_files(folder):
        if path.relative_to(folder).as_posix() not in listed:
            raise ModelError(
                f"model {folder.name}: {path.relative_to(folder)} is not in the manifest"
            )
    return len(listed)


def write_manifest(folder: Path) -> int:
    """Write the manifest of the files as they are now; returns their number."""
    files = {
        path.relative_to(folder).as_posix(): file_sha256(path) for path in _model_files(folder)
    }
    text = json.dumps({"files": files}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n")
    _read_card.cache_clear()
    return len(files)


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _model_files(folder: Path) -> list[Path]:
    """Files that decide what the model does, sorted; a pickle among them is refused."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == MANIFEST or path.suffix in {".md", ".png", ".jpg"}:
            continue
        if path.suffix in {".bin", ".ckpt", ".pt", ".pth", ".pkl"}:
            raise ModelError(
                f"model {folder.name}: weights must be safetensors, got {path.relative_to(folder)}"
            )
        found.append(path)
    return found


class _Config:
    """A JSON object on disk whose missing fields are named."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values = _read_json(path)

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise ModelError(f"model file {self._path} must have the field {name}")
        return self._values[name]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        raise ModelError(f"model file {path} must be readable JSON, got: {err}") from err
    if not isinstance(value, dict):
        raise ModelError(f"model file {path} must hold a JSON object")
    return value
