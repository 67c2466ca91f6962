# ruff: noqa: E501 (one case a line: a table is easier to read than paragraphs)
from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.support.installation import Installation

BAD_ORDERS = [
    ("zero-size", ["--size", "0x0"], 2, "height should be greater than or equal to 64, got 0"),
    ("negative-size", ["--size", "-1x64"], 2, "width should be greater than or equal to 64, got -1"),
    ("size-without-height", ["--size", "2048"], 2, "Invalid value for --size: must be WIDTHxHEIGHT such as 2048x1536, got '2048'"),
    ("size-in-words", ["--size", "largexsmall"], 2, "Invalid value for --size: must be WIDTHxHEIGHT such as 2048x1536, got 'largexsmall'"),
    ("size-beyond-all-limits", ["--size", "99999999x64"], 2, "width should be less than or equal to 1000000, got 99999999"),
    ("canvas-too-large", ["--size", "20000x20000"], 2, "height x width must be at most 300 megapixels, got 400.0"),
    ("too-many-tiles", ["--size", "2048x2048"], 2, "a job may have at most 1000 tiles or cores, got 2209"),
    ("zero-steps", ["--steps", "0"], 2, "steps should be greater than or equal to 1, got 0"),
    ("negative-count", ["--count", "-1"], 2, "count should be greater than or equal to 1, got -1"),
    ("nan-guidance", ["--guidance", "nan"], 2, "guidance should be a finite number, got nan"),
    ("infinite-strength", ["--strength", "inf"], 2, "strength should be a finite number, got inf"),
    ("unknown-sampler", ["--sampler", "plms"], 2, "sampler should be 'ddim', 'euler' or 'dpm++2m', got 'plms'"),
    ("unknown-mode", ["--mode", "magic"], 2, "mode should be 'auto', 'direct', 'refine', 'phased', 'multidiffusion' or 'spot', got 'magic'"),
    ("blend", ["--blend", "screen"], 2, "blend should be 'ramp' or 'uniform', got 'screen'"),
    ("unknown-priority", ["--priority", "now"], 2, "priority should be 'high', 'normal' or 'low', got 'now'"),
    ("unknown-format", ["--format", "gif"], 2, "format should be 'png', 'jpeg', 'webp', 'jxl' or 'tiff', got 'gif'"),
    ("odd-depth", ["--depth", "10"], 2, "depth should be 8 or 16, got 10"),
    ("deep-jpeg", ["--depth", "16", "--format", "jpeg"], 2, "depth 16 needs format png, jxl or tiff, got jpeg"),
    ("upscale-three", ["--upscale", "3"], 2, "upscale should be 1, 2 or 4, got 3"),
    ("overlap-as-large-as-the-tile", ["--tile", "64", "--overlap", "64"], 2, "overlap must be a multiple of 4 px in [0, 64), got 64 px"),
    ("strength-and-nsr", ["--strength", "0.5", "--nsr", "0.5"], 2, "strength and nsr must not both be given"),
    ("tag-without-value", ["--tag", "author"], 2, "Invalid value for --tag: must be KEY=VALUE, got 'author'"),
    ("unknown-model", ["--model", "mona"], 3, "model 'mona' is not known; known models: atlas, tiny"),
    ("path-as-model", ["--model", "../tiny"], 3, "model must be a name without path separators, got '../tiny'"),
    ("missing-init-image", ["--init", "nowhere.png"], 2, "init_image 'nowhere.png' cannot be read: No such file or directory"),
    ("folder-as-init-image", ["--init", "."], 2, "init_image must be a picture file, . is none"),
    ("endless-init-image", ["--init", "/dev/zero"], 2, "init_image must be a picture file, /dev/zero is none"),
]  # fmt: skip

BAD_OUTPUTS = [
    ("unknown-suffix", ["-o", "out.gif"], "Invalid value for --output: must end in one of .png, .jpg, .jpeg, .webp, .jxl, .tif, .tiff, got 'out.gif'"),
    ("suffix-against-format", ["-o", "out.png", "--format", "jpeg"], "Invalid value for --format: must fit the name of the file, which says png, got 'jpeg'"),
    ("missing-folder", ["-o", "nowhere/out.png"], "--output must lie in an existing folder, nowhere is none"),
]  # fmt: skip

BAD_JOBS = [
    ("status-of-an-unknown-job", ["status", "nope"], 5, "job nope is not known"),
    ("watching-an-unknown-job", ["watch", "nope", "--patience", "0"], 5, "job nope is not known"),
    ("fetching-an-unknown-job", ["fetch", "nope"], 5, "job nope is not known"),
    ("cancelling-an-unknown-job", ["cancel", "nope"], 5, "job nope is not known"),
    ("resuming-an-unknown-job", ["resume", "nope"], 5, "job nope is not known"),
    ("path-as-job", ["status", "../x"], 2, "job id must be up to 100 characters of a-z, 0-9, '.', '_', '-', got '../x'"),
    ("path-as-job-to-resume", ["resume", "a/b"], 2, "job id must be up to 100 characters of a-z, 0-9, '.', '_', '-', got 'a/b'"),
    ("submit-without-broker", ["submit", "a hill"], 3, "submit needs a broker: set TILECHORD_BROKER_URL or pass --env-file"),
    ("cluster-without-broker", ["render", "a hill", "--cluster"], 3, "--cluster needs a broker: set TILECHORD_BROKER_URL or pass --env-file"),
    ("worker-without-broker", ["worker", "--queues", "gpu"], 3, "a worker needs a broker: set TILECHORD_BROKER_URL or pass --env-file"),
    ("worker-of-an-unknown-pool", ["worker", "--queues", "control,tpu"], 2, "--queues must name pools of TILECHORD_POOLS (control, gpu), got 'tpu'"),
    ("recipe-of-a-missing-file", ["recipe", "nowhere.png"], 5, "picture nowhere.png is not there"),
    ("verifying-an-unknown-model", ["models", "verify", "mona"], 3, "model 'mona' is not known; known models: atlas, tiny"),
    ("trusting-no-model-in-particular", ["models", "verify", "--write"], 2, "--write needs the model whose files you trust"),
    ("missing-env-file", ["--env-file", "nowhere", "jobs"], 2, "Invalid value for --env-file: must be a file, nowhere is none"),
    ("unknown-command", ["xyzzy"], 2, "No such command 'xyzzy'"),
]  # fmt: skip


@pytest.mark.parametrize("command", ["render", "plan"])
@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [case[1:] for case in BAD_ORDERS],
    ids=[c[0] for c in BAD_ORDERS],
)
def test_a_bad_order_earns_one_sentence(
    command: str, options: list[str], code: int, sentence: str, installation: Installation
) -> None:
    result = installation.invoke(command, "a hill", "--size", "256x192", *options)

    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"tilechord: {sentence}\n"
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("", "prompt should have at least 1 character, got ''"),
        ("  ", "prompt must not be empty, got '  '"),
        ("a\x1bb", "prompt must not contain the control character U+001B, got 'a\\x1bb'"),
        ("x" * 10_000_000, f"prompt should have at most 100000 characters, got {'x' * 60!r} and 9999940 more characters"),
    ],
    ids=["empty", "blank", "escape", "ten-megabytes"],
)  # fmt: skip
def test_a_bad_prompt_earns_one_sentence(
    prompt: str, sentence: str, installation: Installation
) -> None:
    result = installation.invoke("render", prompt)

    assert (result.exit_code, result.stderr) == (2, f"tilechord: {sentence}\n")
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("options", "sentence"), [case[1:] for case in BAD_OUTPUTS], ids=[c[0] for c in BAD_OUTPUTS]
)
def test_a_bad_output_is_told_before_anything_is_rendered(
    options: list[str], sentence: str, installation: Installation
) -> None:
    result = installation.invoke("render", "a hill", *options)

    assert (result.exit_code, result.stderr) == (2, f"tilechord: {sentence}\n")
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"), [case[1:] for case in BAD_JOBS], ids=[c[0] for c in BAD_JOBS]
)
def test_a_bad_command_earns_one_sentence(
    arguments: list[str], code: int, sentence: str, installation: Installation
) -> None:
    result = installation.invoke(*arguments)

    assert (result.exit_code, result.stderr) == (code, f"tilechord: {sentence}\n")
    assert installation.blobs() == []


def test_a_picture_without_a_recipe_is_not_found(
    installation: Installation, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")

    result = installation.invoke("recipe", "plain.png")

    assert result.exit_code == 5
    assert result.stderr == "tilechord: picture plain.png carries no tilechord recipe\n"


def test_a_damaged_init_image_is_refused_before_it_is_stored(
    installation: Installation, tmp_path: Path
) -> None:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    (tmp_path / "half.png").write_bytes(whole.getvalue()[:1000])

    result = installation.invoke("render", "a hill", "--init", "half.png")

    assert result.exit_code == 2
    assert result.stderr.startswith(
        "tilechord: init_image must be a whole PNG, JPEG, WebP or TIFF picture, got 1000 B"
    )
    assert installation.blobs() == []


@pytest.mark.timeout(60)  # a render whose worker cannot start would wait without end
@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cuda", "TILECHORD_DEVICE: this machine has 0 GPUs, got 'cuda'"),
        ("tpu", "TILECHORD_DEVICE must be auto, cpu or cuda[:N], got 'tpu'"),
    ],
    ids=["no-gpu", "unknown"],
)
def test_a_device_that_is_not_there_is_told_before_anything_is_rendered(
    device: str, sentence: str, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setenv("TILECHORD_DEVICE", device)

    result = installation.invoke("render", "a hill", "--size", "64x64")

    assert (result.exit_code, result.stderr) == (3, f"tilechord: {sentence}\n")
    assert installation.blobs() == []


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MAX_TILES", "-1", "TILECHORD_MAX_TILES: input should be greater than 0, got '-1'"),
        ("STORE_URL", "ftp://host/x", "TILECHORD_STORE_URL must start with memory://, file:// or s3://, got scheme 'ftp'"),
        ("STORE_URL", "s3://../x", "TILECHORD_STORE_URL must name a bucket of 3 to 63 characters of [a-z0-9.-], got '..'"),
        ("POOLS", "[", "TILECHORD_POOLS must be JSON, got '['"),
    ],
    ids=["limit", "store-scheme", "bucket", "pools"],
)  # fmt: skip
def test_a_bad_setting_names_its_variable(
    variable: str,
    value: str,
    sentence: str,
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"TILECHORD_{variable}", value)

    result = installation.invoke("jobs")

    assert result.exit_code == 3
    assert result.stderr.startswith(f"tilechord: {sentence}")
    assert result.stderr.count("\n") == 1
