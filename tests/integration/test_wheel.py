import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app import __version__

ROOT = Path(__file__).parents[2]
SOURCES = ("app", "workers", "celeryconfig.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy, since building leaves files in the tree it builds from."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "tree" / name)
        else:
            (folder / "tree").mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / "tree")
    cache = folder / "tree" / "workers" / "models" / "atlas_training" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "text.cpython-311.pyc").touch()
    model = folder / "tree" / "workers" / "models" / "atlas" / "unet"
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text("{}")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += [f"--wheel-dir={folder}", str(folder / "tree")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel):
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_has_the_version_that_the_package_tells(wheel):
    assert wheel.name == f"tilechord-{__version__}-py3-none-any.whl"


def test_the_wheel_has_celerys_configuration_and_the_bundled_model(names):
    assert "celeryconfig.py" in names
    assert "app/cli/__init__.py" in names
    assert "workers/models/atlas/unet/config.json" in names


def test_the_wheel_has_nothing_that_was_compiled(names):
    assert [name for name in names if "__pycache__" in name] == []


def test_the_command_line_works_from_the_wheel_alone(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import app.celery, app; "
        "app.celery.celery.conf.task_serializer; "
        "print(app.__file__, app.celery._configuration().__file__, sep='\\n')"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path / "site")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(tmp_path / "site")) for line in done.stdout.splitlines())
