"""A backup of a small installation on SQLite, made once by the command; tests damage copies of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes.served import shell
from tests.support import warm
from tests.support.databases import copy_migrated
from tests.support.patience import GIVE_UP_SECONDS

CHEAP_KEYS = "tests.backup.cheap_keys"
PASSPHRASE = "correct horse battery staple"
FILLED = """
import json
from django.conf import settings
from tests.support import rows
from tests.tenants.ledger.conftest import write_call
from tenants.ledger.ingest import ingest_all
from tenants.ledger.spool import Spool
customer = rows.customer("acme")
rows.provider("chat", "http://127.0.0.1:1/v1", "vendor", secret="a secret of a vendor")
spool = Spool(settings.SPOOL_DIR)
whose = {"tenant_id": customer.tenant.pk, "key_id": customer.key.pk, "key": customer.key.public_id}
write_call(spool, **whose)
write_call(spool, **whose)
ingest_all(settings.SPOOL_DIR)
write_call(spool, **whose)
print(json.dumps(customer.secret))
"""


@dataclass(frozen=True, slots=True)
class Made:
    """The installation, the directory of its backups, and the only one in it."""

    variables: dict[str, str]
    directory: Path
    secret: str

    @property
    def backup(self) -> Path:
        (found,) = (path for path in self.directory.iterdir() if not path.name.startswith("."))
        return found

    def here(self, data_dir: Path) -> dict[str, str]:
        """Return the variables of another place."""
        return {**self.variables, "TOLLGATE_DATA_DIR": str(data_dir)}


def run(variables: dict[str, str], *arguments: str) -> dict[str, Any]:
    """The JSON object of a command that succeeds."""
    ended = warm.run(["manage.py", *arguments, "--json"], variables, GIVE_UP_SECONDS)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def refusal(variables: dict[str, str], *arguments: str) -> str:
    """The sentence of a command that ends with exit code 1."""
    ended = warm.run(["manage.py", *arguments], variables, GIVE_UP_SECONDS)
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Made:
    data_dir = tmp_path_factory.mktemp("installation")
    variables = {
        **copy_migrated(tmp_path_factory, data_dir),
        "TOLLGATE_BACKUP_PASSPHRASE": PASSPHRASE,
        "DJANGO_SETTINGS_MODULE": CHEAP_KEYS,
    }
    secret = shell(variables, FILLED)
    directory = tmp_path_factory.mktemp("backups")
    run(variables, "backup", str(directory))
    return Made(variables, directory, secret)


@pytest.fixture
def made(made_once: Made, tmp_path: Path) -> Made:
    """Copy the backup into a directory of the test's own."""
    directory = tmp_path / "backups"
    shutil.copytree(made_once.directory, directory)
    return Made(made_once.variables, directory, made_once.secret)
