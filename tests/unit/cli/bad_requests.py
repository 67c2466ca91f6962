# ruff: noqa: E501 (one case a line: a table is easier to read than paragraphs)
"""Requests that must be refused, with the sentence each of them earns."""

from __future__ import annotations

from typing import Any

# Id, fields beside the prompt, sentence. The first group breaks the rules of a request and is
# refused where it is sent; the second needs the plan and is refused where it is planned.
BROKEN_RULES: list[tuple[str, dict[str, Any], str]] = [
    ("zero-width", {"width": 0}, "width should be greater than or equal to 64, got 0"),
    ("negative-height", {"height": -5}, "height should be greater than or equal to 64, got -5"),
    ("huge-width", {"width": 10**12}, "width should be less than or equal to 1000000, got 1000000000000"),
    ("zero-count", {"count": 0}, "count should be greater than or equal to 1, got 0"),
    ("negative-seed", {"seed": -1}, "seed should be greater than or equal to 0, got -1"),
    ("huge-seed", {"seed": 2**63}, "seed should be less than 9223372036854775808, got 9223372036854775808"),
    ("zero-steps", {"steps": 0}, "steps should be greater than or equal to 1, got 0"),
    ("huge-steps", {"steps": 10**6}, "steps should be less than or equal to 500, got 1000000"),
    ("nan-guidance", {"guidance": float("nan")}, "guidance should be a finite number, got nan"),
    ("inf-guidance", {"guidance": float("inf")}, "guidance should be a finite number, got inf"),
    ("negative-guidance", {"guidance": -1.0}, "guidance should be greater than or equal to 0, got -1.0"),
    ("zero-strength", {"strength": 0.0}, "strength should be greater than 0, got 0.0"),
    ("strength-over-one", {"strength": 1.5}, "strength should be less than or equal to 1, got 1.5"),
    ("nan-nsr", {"nsr": float("nan")}, "nsr should be a finite number, got nan"),
    ("strength-and-nsr", {"strength": 0.5, "nsr": 0.5}, "strength and nsr must not both be given"),
    ("text-as-width", {"width": "1024"}, "width should be a valid integer, got '1024'"),
    ("fraction-as-height", {"height": 512.5}, "height should be a valid integer, got 512.5"),
    ("truth-as-count", {"count": True}, "count should be a valid integer, got True"),
    ("number-as-prompt", {"prompt": 7}, "prompt should be a valid string, got 7"),
    ("null-prompt", {"prompt": None}, "prompt should be a valid string, got None"),
    ("empty-prompt", {"prompt": ""}, "prompt should have at least 1 character, got ''"),
    ("blank-prompt", {"prompt": " \n\t"}, "prompt must not be empty, got ' \\n\\t'"),
    (
        "ten-megabyte-prompt",
        {"prompt": "x" * 10_000_000},
        "prompt should have at most 100000 characters, "
        f"got {'x' * 60!r} and 9999940 more characters",
    ),
    (
        "control-character",
        {"prompt": "a hill\x07"},
        "prompt must not contain the control character U+0007, got 'a hill\\x07'",
    ),
    (
        "null-in-negative-prompt",
        {"negative_prompt": "a\x00b"},
        "negative_prompt must not contain the control character U+0000, got 'a\\x00b'",
    ),
    (
        "control-character-in-a-model-of-a-stage",
        {"models": {"refine": "a\x1bb"}},
        "models.refine must not contain the control character U+001B, got 'a\\x1bb'",
    ),
    (
        "control-character-in-a-tag",
        {"tags": {"owner": "a\x1bb"}},
        "tags.owner must not contain the control character U+001B, got 'a\\x1bb'",
    ),
    (
        "control-character-in-the-name-of-a-tag",
        {"tags": {"a\x1bb": "me"}},
        "tags.'a\\x1bb'.[key] must not contain the control character U+001B, got 'a\\x1bb'",
    ),
    (
        "long-name-of-a-tag",
        {"tags": {"x" * 10_000: "me"}},
        f"tags.{'x' * 60!r}….[key] should have at most 200 characters, "
        f"got {'x' * 60!r} and 9940 more characters",
    ),
    ("control-character-in-a-field", {"a\x1bb": 1}, "'a\\x1bb' is not a field of a request"),
    (
        "regions-of-a-megabyte",
        {"regions": [{"prompt": "x" * 99_000}] * 2},
        "request must take at most 61440 bytes of JSON, got 198094 bytes",
    ),
    (
        "a-region-that-is-no-text",
        {"regions": [{"prompt": b"x"}]},
        "regions.0.prompt should be a valid string, got b'x'",
    ),
    (
        "a-region-outside-the-picture",
        {"regions": [{"prompt": "x", "box": {"top": 0, "left": 0, "bottom": 64, "right": 9000}}]},
        "regions.0.box must lie inside the picture of 256x192 px, got bottom 64, right 9000",
    ),
    (
        "a-region-without-area",
        {"regions": [{"prompt": "x", "box": {"top": 9, "left": 0, "bottom": 9, "right": 9}}]},
        "regions.0.box must have bottom > top and right > left, "
        "got {'top': 9, 'left': 0, 'bottom': 9, 'right': 9}",
    ),
    (
        "a-region-without-a-corner",
        {"regions": [{"prompt": "x", "box": {"top": 0, "left": 0, "bottom": 64}}]},
        "regions.0.box.right is required",
    ),
    (
        "a-region-without-weight",
        {"regions": [{"prompt": "x", "weight": 0.0}]},
        "regions.0.weight should be greater than 0, got 0.0",
    ),
    (
        "a-region-with-a-negative-feather",
        {"regions": [{"prompt": "x", "feather": -1}]},
        "regions.0.feather should be greater than or equal to 0, got -1",
    ),
    ("unknown-field", {"colour": "red"}, "colour is not a field of a request"),
    (
        "unknown-sampler",
        {"sampler": "plms"},
        "sampler should be 'ddim', 'euler' or 'dpm++2m', got 'plms'",
    ),
    (
        "unknown-mode",
        {"mode": "magic"},
        "mode should be 'auto', 'direct', 'refine', 'phased', 'multidiffusion' or 'spot', "
        "got 'magic'",
    ),
    (
        "unknown-format",
        {"format": "bmp"},
        "format should be 'png', 'jpeg', 'webp', 'jxl' or 'tiff', got 'bmp'",
    ),
    ("upscale-three", {"upscale": 3}, "upscale should be 1, 2 or 4, got 3"),
    ("unknown-priority", {"priority": "urgent"}, "priority should be 'high', 'normal' or 'low', got 'urgent'"),
    ("mask-alone", {"mask": "inputs/mask"}, "mask needs an init_image, got 'inputs/mask' without one"),
    ("fit-alone", {"init_fit": "crop"}, "init_fit needs an init_image, got 'crop' without one"),
    ("unknown-fit", {"init_fit": "pad"}, "init_fit should be 'stretch', 'crop' or 'error', got 'pad'"),
    ("odd-depth", {"depth": 12}, "depth should be 8 or 16, got 12"),
    ("long-model-name", {"model": "m" * 201}, f"model should have at most 200 characters, got {'m' * 60!r} and 141 more characters"),
]  # fmt: skip

UNPLANNABLE: list[tuple[str, dict[str, Any], str]] = [
    ("unknown-model", {"model": "mona"}, "model 'mona' is not known; known models: atlas, tiny"),
    (
        "path-as-model",
        {"model": "../../etc"},
        "model must be a name without path separators, got '../../etc'",
    ),
    (
        "hidden-folder-as-model",
        {"model": "..."},
        "model must be a name without path separators, got '...'",
    ),
    (
        "unknown-upscaler",
        {"models": {"upscale": "../x"}},
        "models.upscale must be one of realesr-animevideov3, got '../x'",
    ),
    (
        "unknown-restorer",
        {"models": {"restore": "../x"}},
        "models.restore must be a network of TILECHORD_UPSCALERS (none is set), got '../x'",
    ),
    (
        "overlap-as-large-as-the-tile",
        {"tile": 64, "overlap": 64},
        "overlap must be a multiple of 4 px in [0, 64), got 64 px",
    ),
    (
        "overlap-off-the-grid",
        {"overlap": 3},
        "overlap must be a multiple of 4 px in [0, 64), got 3 px",
    ),
    (
        "tile-too-large",
        {"tile": 1024, "overlap": 0},
        "tile must be a multiple of 4 px in [32, 256], got 1024 px",
    ),
    (
        "a-panorama-that-ends-between-two-latents",
        {"wrap": "x", "width": 190},
        "width must be a multiple of 4 px where the picture wraps, got 190 px",
    ),
    (
        "canvas-too-large",
        {"width": 20_000, "height": 20_000},
        "height x width must be at most 300 megapixels, got 400.0",
    ),
    ("count-too-large", {"count": 1001}, "count must be at most 1000, got 1001"),
    (
        "too-many-tiles",
        {"width": 2048, "height": 2048},
        "a job may have at most 1000 tiles or cores, got 2209",
    ),
    (
        "direct-canvas-too-large",
        {"mode": "direct"},
        "mode direct denoises at most 0.016 megapixels with model tiny, got 0.049; use mode refine",
    ),
    (
        "prompt-over-the-limit",
        {"prompt": "x" * 4001},
        "prompt must have at most 4000 characters, got 4001",
    ),
]

MISSING_INPUTS: list[tuple[str, dict[str, Any], str]] = [
    (
        "init-image-that-was-never-uploaded",
        {"init_image": "inputs/" + "0" * 64},
        f"init_image must be the key of an uploaded picture, got '{'inputs/' + '0' * 64}'",
    ),
    (
        "mask-that-was-never-uploaded",
        {"init_image": "inputs/" + "0" * 64, "mask": "inputs/" + "1" * 64},
        f"init_image must be the key of an uploaded picture, got '{'inputs/' + '0' * 64}'",
    ),
    (
        "path-as-init-image",
        {"init_image": "../../etc/passwd"},
        "blob key must be segments of [a-z0-9._-] joined by '/', none starting with a dot, "
        "got '../../etc/passwd'",
    ),
]
