"""Model folders: finding them, reading their cards, verifying their files. No torch needed.

A model is a folder in the diffusers layout, a control network one with a ``ControlNetModel``, a
LoRA one with a single safetensors file. ``manifest.json`` inside lists the SHA-256 of every file;
``tilechord.json``, optional, overrides the defaults of a model's card.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from app.domain.card import ControlCard, ModelCard
from app.domain.errors import ModelError
from app.domain.plan import canonical_json
from app.model_files import Config, read_control_card, read_json, read_model_card

BUNDLED = Path(__file__).parent.parent / "workers" / "models"
MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20


class Kind(StrEnum):
    """What a folder holds."""

    MODEL = "model"
    CONTROL = "control network"
    LORA = "LoRA"


def kind_of(folder: Path) -> Kind | None:
    """What *folder* holds, by the files that are in it."""
    if (folder / "model_index.json").is_file():
        return Kind.MODEL
    if (folder / "config.json").is_file():
        return Kind.CONTROL
    return Kind.LORA if any(folder.glob("*.safetensors")) else None


def lora_file(folder: Path) -> Path:
    """The weights of the LoRA in *folder*. Raises ``ModelError`` unless there is one file."""
    files = list(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise ModelError(f"LoRA {folder.name} must be one safetensors file, got {len(files)}")
    return files[0]


class Catalogue:
    """The models in a list of folders, earlier folders first."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = [*folders, BUNDLED]

    def names(self, kind: Kind = Kind.MODEL) -> list[str]:
        """Names of all that is found of *kind*, sorted."""
        found = (path for root in self._folders if root.is_dir() for path in root.iterdir())
        return sorted({path.name for path in found if kind_of(path) is kind})

    def folders(self, kind: Kind) -> list[Path]:
        """Folders of all that is found of *kind*, sorted by name."""
        return [self.folder(name, kind) for name in self.names(kind)]

    def folder(self, name: str, kind: Kind = Kind.MODEL) -> Path:
        """Folder of *name*. Raises ``ModelError`` when there is none of *kind*."""
        if "/" in name or "\\" in name or name.startswith("."):
            raise ModelError(f"{kind} must be a name without path separators, got {name!r}")
        for root in self._folders:
            if kind_of(root / name) is kind:
                return root / name
        known = ", ".join(self.names(kind)) or "none"
        raise ModelError(f"{kind} {name!r} is not known; known {kind}s: {known}")

    def card(self, name: str) -> ModelCard:
        """Facts of model *name*, read from its configuration files."""
        folder = self.folder(name)
        return _read_card(folder, read_revision(folder))

    def control_card(self, name: str) -> ControlCard:
        """Facts of control network *name*."""
        folder = self.folder(name, Kind.CONTROL)
        return read_control_card(folder, read_revision(folder))

    def lora_revision(self, name: str) -> str:
        """Revision of LoRA *name*."""
        return read_revision(self.folder(name, Kind.LORA))


@lru_cache(maxsize=32)
def _read_card(folder: Path, revision: str) -> ModelCard:
    return read_model_card(folder, revision)


def read_revision(folder: Path) -> str:
    """SHA-256 over the manifest. Raises ``ModelError`` when there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelError(
            f"model {folder.name} has no {MANIFEST}; "
            f"check where its files come from, then run: tilechord models verify {folder} --write"
        )
    return hashlib.sha256(canonical_json(read_json(path))).hexdigest()


def verify(folder: Path) -> int:
    """Compare every file with the manifest; returns the number of files.

    Raises ``ModelError`` naming the first file that is missing, changed, not listed, or of a
    format that can run code when it is loaded.
    """
    read_revision(folder)  # refuses a folder without a manifest
    listed = Config(folder / MANIFEST)["files"]
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
