"""The options that describe a picture, shared by every command that takes a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.regions import read_region_file, read_regions
from app.cli.sizes import chosen_size

_FORMATS = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".jxl": "jxl",
    ".tif": "tiff",
    ".tiff": "tiff",
}

# Options that are called as the field they set.
_SAME_IN_REQUEST = (
    *("seed", "steps", "guidance", "sampler", "model", "mode", "upscale", "tile", "overlap"),
    *("count", "strength", "nsr", "priority", "wrap", "blend", "control_scale"),
    *("decoder", "tenant", "group", "deadline_s", "init_fit", "depth"),
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@dataclass(frozen=True)
class RequestOptions:
    """A request as typed; what is left out takes the model's default, decided in one place."""

    prompt: Annotated[str, typer.Argument(help="What the picture shows.")]
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="Size in pixels, or one side such as 8192x to keep --init's aspect;"
            " --init's own without it, else 1024x1024.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Same seed, same picture.")] = 0
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the prompt.")] = None
    sampler: Annotated[str | None, typer.Option(help="ddim, euler or dpm++2m.")] = None
    model: Annotated[str | None, typer.Option(help="Name from `tilechord models list`.")] = None
    base_model: Annotated[str | None, typer.Option(help="Another model for the base picture.")] = (
        None
    )
    upscaler: Annotated[
        str | None, typer.Option(help="Super-resolution network of TILECHORD_UPSCALERS.")
    ] = None
    mode: Annotated[
        str | None, typer.Option(help="auto, direct, refine, phased, multidiffusion or spot.")
    ] = None
    upscale: Annotated[int | None, typer.Option(help="Super-resolution: 1, 2 or 4.")] = None
    tile: Annotated[int | None, typer.Option(help="Edge of a tile in pixels.")] = None
    overlap: Annotated[int | None, typer.Option(help="Pixels neighbouring tiles share.")] = None
    negative: Annotated[str | None, typer.Option(help="What the picture must not show.")] = None
    count: Annotated[int | None, typer.Option(help="Number of pictures.")] = None
    format: Annotated[str | None, typer.Option(help="png, jpeg, webp, jxl or tiff.")] = None
    pyramid: Annotated[
        bool, typer.Option("--pyramid", help="Write tiles for deep zoom beside the picture.")
    ] = False
    depth: Annotated[
        int | None, typer.Option(help="Bits a channel: 8, or 16 as png, jxl or tiff.")
    ] = None
    init: Annotated[Path | None, typer.Option(help="Picture to start from.")] = None
    init_fit: Annotated[
        str | None, typer.Option(help="--init of another aspect: stretch, crop or error.")
    ] = None
    mask: Annotated[
        Path | None, typer.Option(help="Picture that is white where --init is painted anew.")
    ] = None
    strength: Annotated[float | None, typer.Option(help="Change of --init, 0 to 1.")] = None
    nsr: Annotated[float | None, typer.Option(help="Noise a refined tile starts from.")] = None
    wrap: Annotated[str | None, typer.Option(help="x: panorama; xy: seamless texture.")] = None
    blend: Annotated[str | None, typer.Option(help="Overlapping tiles: ramp or uniform.")] = None
    decoder: Annotated[str | None, typer.Option(help="full, or tiny for previews.")] = None
    region: Annotated[
        list[str],
        typer.Option(
            metavar="WIDTHxHEIGHT+LEFT+TOP=PROMPT", help="A part with a prompt of its own."
        ),
    ] = field(default_factory=list)
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="JSON list of parts, as docs/reference/request.md has them."
        ),
    ] = None
    lora: Annotated[
        list[str], typer.Option(metavar="NAME[=WEIGHT]", help="Added to the model's weights.")
    ] = field(default_factory=list)
    control: Annotated[
        str | None, typer.Option(help="Network that holds tiles to the picture they start from.")
    ] = None
    control_scale: Annotated[float | None, typer.Option(help="How closely, 0 to 2.")] = None
    restore: Annotated[
        str | None, typer.Option(help="Restoration network of TILECHORD_UPSCALERS.")
    ] = None
    priority: Annotated[str | None, typer.Option(help="high, normal or low.")] = None
    tenant: Annotated[str | None, typer.Option(help="Who orders; tenants share workers.")] = None
    group: Annotated[int | None, typer.Option(help="Pictures of a batch in work at once.")] = None
    deadline_s: Annotated[
        float | None, typer.Option("--deadline", help="Seconds until it is wanted.")
    ] = None
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Render anew what is in the store already.")
    ] = False
    tag: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help="Kept in the recipe.")] = (
        field(default_factory=list)
    )

    @property
    def files(self) -> dict[str, Path]:
        """Pictures to upload, by the field of the request that names them."""
        given = {"init_image": self.init, "mask": self.mask}
        return {field: path for field, path in given.items() if path is not None}

    def to_request(self, output: Path | None = None) -> dict[str, Any]:
        """The fields of the request; *output* decides the format when no option does.

        The pictures of ``files`` are left to the caller: they need a store. So are the regions'
        masks, which are paths.
        """
        width, height = chosen_size(self.size, self.init)
        fields = {name: getattr(self, name) for name in _SAME_IN_REQUEST} | {
            "prompt": self.prompt,
            "width": width,
            "height": height,
            "negative_prompt": self.negative,
            "format": choose_format(self.format, output),
            "regions": self._regions() or None,
            "loras": read_loras(self.lora) or None,
            "models": self._models() or None,
            "tags": read_tags(self.tag) or None,
            "pyramid": self.pyramid or None,
            "cache": False if self.no_cache else None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _regions(self) -> list[dict[str, Any]]:
        filed = read_region_file(self.regions) if self.regions else []
        return read_regions(self.region) + filed

    def _models(self) -> dict[str, str]:
        """The networks that options name, by stage."""
        named = {
            "base": self.base_model,
            "upscale": self.upscaler,
            "control": self.control,
            "restore": self.restore,
        }
        return {stage: name for stage, name in named.items() if name}


def read_loras(texts: list[str]) -> list[dict[str, Any]]:
    """LoRAs of a request from ``ink=0.8``; the weight may be left out."""
    loras: list[dict[str, Any]] = []
    for text in texts:
        name, _, weight = text.partition("=")
        try:
            loras.append({"name": name} | ({"weight": float(weight)} if weight else {}))
        except ValueError:
            raise typer.BadParameter(
                f"must be NAME or NAME=WEIGHT such as ink=0.8, got {text[:60]!r}",
                param_hint="--lora",
            ) from None
    return loras


def read_tags(pairs: list[str]) -> dict[str, str]:
    """``["a=1"]`` as a mapping."""
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise typer.BadParameter(f"must be KEY=VALUE, got {pair[:60]!r}", param_hint="--tag")
    return dict(pair.split("=", maxsplit=1) for pair in pairs)


def choose_format(given: str | None, output: Path | None) -> str | None:
    """The picture format: as *given*, else as *output* is called."""
    if output is None or not output.suffix:
        return given
    named = _FORMATS.get(output.suffix.lower())
    if named is None:
        known = ", ".join(_FORMATS)
        raise typer.BadParameter(
            f"must end in one of {known}, got {output.name[-60:]!r}", param_hint="--output"
        )
    if given is not None and given != named:
        raise typer.BadParameter(
            f"must fit the name of the file, which says {named}, got {given[:60]!r}",
            param_hint="--format",
        )
    return named


def check_format(output: Path | None, stored: str) -> None:
    """Refuse a name that says another format than that of the *stored* picture."""
    if output is not None and choose_format(None, output) not in (None, stored):
        raise typer.BadParameter(
            f"must fit the stored picture, which is {stored}, got {output.name[-60:]!r}",
            param_hint="--output",
        )


def takes_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options of a request; it receives them as its first argument."""
    shared = list(signature(RequestOptions, eval_str=True).parameters.values())
    own = list(signature(command, eval_str=True).parameters.values())[1:]

    @wraps(command)
    def wrapper(**given: Any) -> None:
        options = RequestOptions(**{entry.name: given.pop(entry.name) for entry in shared})
        command(options, **given)

    parameters = [
        entry.replace(kind=Parameter.KEYWORD_ONLY, default=_default(entry))
        for entry in (*shared, *own)
    ]
    wrapper.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {entry.name: entry.annotation for entry in parameters}
    return wrapper


def _default(entry: Parameter) -> Any:
    """A dataclass shows a factory as a marker object, which is no default for an option."""
    return [] if entry.name in ("tag", "region", "lora") else entry.default
