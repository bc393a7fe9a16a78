"""Tests of `motet keys`: keys are printed once, listed without secrets, and revoked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from motet.transport.access.api_key import key_id_of
from motet.transport.access.api_keys import ApiKeys
from motet.transport.access.key_file import read_records
from motet.transport.access.outcome import RefusedError
from services.cli.keys.commands import app


def keys(file: Path, *arguments: str) -> Result:
    """Run `motet keys` with a file."""
    return CliRunner().invoke(app, [arguments[0], "--file", str(file), *arguments[1:]])


def test_a_created_key_is_printed_once_and_has_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    options = ("--tenant", "acme", "--role", "read", "--expires", "30d", "--model", "nano", "--modality", "a")

    result = keys(file, "create", *options, "--max-priority", "0", "--quota-class", "batch")

    key = result.stdout.strip()
    caller = ApiKeys(lambda: read_records(file)).caller_of(key)
    record = read_records(file)[key_id_of(key) or ""]
    assert (caller.tenant, caller.roles, caller.models, caller.modalities) == ("acme", {"read"}, {"nano"}, {"a"})
    assert (caller.max_priority, caller.quota_class) == (0, "batch")
    assert record.expire_time is not None
    assert (record.expire_time - record.create_time).days == 30
    assert key not in result.stderr + file.read_text() + keys(file, "list").stdout


def test_a_key_can_generate_and_read_for_90_days_by_default(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys(file, "create", "--tenant", "acme")
    keys(file, "create", "--tenant", "acme", "--expires", "never")

    first, second = read_records(file).values()
    assert first.roles == {"generate", "read"}
    assert first.expire_time is not None
    assert (first.expire_time - first.create_time).days == 90
    assert second.expire_time is None


def test_keys_are_listed_for_people_and_for_programs(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys(file, "create", "--tenant", "acme\u202e", "--expires", "1h")
    keys(file, "create", "--tenant", "acme", "--expires", "1h", "--modality", "a")
    (record,) = read_records(file).values()

    line, program = keys(file, "list").stdout, keys(file, "list", "--json").stdout

    assert line.startswith(f"{record.id}  acme  generate+read  expires ")
    assert line.endswith("  media a\n")
    assert json.loads(program)["tenant"] == "acme"
    assert record.sha256 not in line + program


def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = keys(file, "create", "--tenant", "acme").stdout.strip()

    result = keys(file, "revoke", key_id_of(key) or "")

    assert result.exit_code == 0
    with pytest.raises(RefusedError):
        ApiKeys(lambda: read_records(file)).caller_of(key)
    assert "revoked" in keys(file, "list").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "--tenant", ""), "tenant is wrong"),
        (("create", "--tenant", "x" * 65), "tenant is wrong"),
        (("create", "--tenant", "a", "--role", "orchestrator"), "roles is wrong"),
        (("create", "--tenant", "a", "--expires", "0d"), "is not a duration"),
        (("create", "--tenant", "a", "--expires", "99999d"), "is not a duration"),
        (("create", "--tenant", "a", "--max-priority", "3"), "--max-priority"),
        (("list",), "is not a file"),
        (("revoke", "nothing"), "is not a file"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = keys(tmp_path / "keys", *arguments)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_the_id_of_no_key_cannot_be_revoked(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys(file, "create", "--tenant", "acme")
    before = file.read_bytes()

    result = keys(file, "revoke", "nothing")

    assert (result.exit_code, "no key with the id" in result.stderr) == (2, True)
    assert file.read_bytes() == before
