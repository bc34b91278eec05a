"""Build the image without a registry: on a base made by debootstrap, by buildah as root.

The base has Debian 12's own Python, of the same version as the real one's, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.files import DEPLOY, ROOT

NAME = "localhost/tollgate:test"
BASE = "localhost/python:3.11-slim"
BASE_PACKAGES = "python3-minimal,python3-venv,ca-certificates"
BASE_ROOT = ROOT / "var" / "image" / "base"
# Not below the tests' own directory, which the next run of any test would try to remove.
WORK = ROOT / "var" / "image" / "work"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NEEDED = ("buildah", "debootstrap", "unshare", "setpriv")


@dataclass(frozen=True, slots=True)
class Image:
    """Knows what was built: where its files lie, and what it says of itself."""

    root: Path
    config: dict[str, Any]


def missing() -> list[str]:
    """Return what this machine lacks to build an image so."""
    found = [name for name in NEEDED if shutil.which(name) is None]
    return found if os.geteuid() == 0 else [*found, "root"]


@contextmanager
def built() -> Iterator[Image]:
    """Build the image; its files are gone afterwards, as are those of a build that was killed."""
    _clear()
    builder = _Builder(WORK)
    try:
        builder.import_base()
        builder.build()
        yield builder.image()
    finally:
        _clear()


def _clear() -> None:
    """Unmount what buildah has mounted, which outlives it, and remove it."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([mount for mount in mounts if mount.startswith(f"{WORK}/")]):
        subprocess.run(["umount", "--lazy", place], check=True)
    shutil.rmtree(WORK, ignore_errors=True)


class _Builder:
    def __init__(self, work: Path) -> None:
        work.mkdir(parents=True)
        self._work = work
        self._policy = work / "policy.json"
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        # With vfs, which works everywhere, each layer is a whole copy.
        self._driver = "overlay" if self._try("overlay", "info").returncode == 0 else "vfs"

    def run(self, *arguments: str | Path) -> str:
        ended = self._try(self._driver, *arguments)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
        return ended.stdout.strip()

    def _try(self, driver: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        places = [f"--root={self._work}/{driver}", f"--runroot={self._work}/{driver}-run"]
        command = ["buildah", *places, "--storage-driver", driver, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    def import_base(self) -> None:
        """Import the base, which is made once and kept: it takes minutes."""
        if not (BASE_ROOT / "usr/local/bin/python3").is_symlink():
            shutil.rmtree(BASE_ROOT, ignore_errors=True)
            BASE_ROOT.parent.mkdir(parents=True, exist_ok=True)
            options = ["--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm"]
            subprocess.run(["debootstrap", *options, BASE_ROOT], check=True, capture_output=True)
            (BASE_ROOT / "usr/local/bin/python3").symlink_to("/usr/bin/python3")
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, BASE_ROOT, "/")
        path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.run("config", "--env", path, container)
        self.run("commit", "--quiet", "--signature-policy", self._policy, "--rm", container, BASE)

    def build(self) -> None:
        pip = self._work / "pip.conf"
        pip.write_text(f"[global]\ncert = {CERTIFICATES}\n")
        self.run(
            "bud", "--quiet", "--format", "docker", "--isolation", "chroot", "--pull-never",
            "--signature-policy", self._policy, "--build-arg", f"PYTHON_IMAGE={BASE}",
            "--secret", f"id=pip.conf,src={pip}", "--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro",
            "--ignorefile", DEPLOY / "Dockerfile.dockerignore",
            "--file", DEPLOY / "Dockerfile", "--tag", NAME, ".",
        )  # fmt: skip

    def image(self) -> Image:
        config = json.loads(self.run("inspect", "--type", "image", NAME))["Docker"]["config"]
        container = self.run("from", "--pull-never", NAME)
        return Image(Path(self.run("mount", container)), config)
