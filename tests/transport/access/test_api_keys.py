"""Tests of API keys, their records and their file."""

from __future__ import annotations

import json
import multiprocessing
import stat
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from motet.core.caller import Role
from motet.core.errors import RequestError, SettingsError
from motet.core.files.reloaded_file import ReloadedFile
from motet.transport.access.api_key import create_key, digest_of, key_id_of
from motet.transport.access.api_keys import ApiKeys
from motet.transport.access.key_file import add_record, read_records, revoke
from motet.transport.access.key_records import MAX_NAMED, changes_of, parse_records
from motet.transport.access.new_key import new_key
from motet.transport.access.outcome import Outcome, RefusedError

NOW = datetime.now(UTC)


def key_of(tenant: str = "acme", **fields: Any) -> Any:
    """Return a new key and its record."""
    return new_key(**{"tenant": tenant, "roles": ["generate"], "create_time": NOW, **fields})


def test_keys_are_random_and_have_a_checksum() -> None:
    keys = [create_key() for _ in range(100)]

    assert len({key_id_of(key) for key in keys}) == len(set(keys)) == 100
    for position in range(6, len(keys[0])):
        swapped = "x" if keys[0][position] != "x" else "y"
        assert key_id_of(keys[0][:position] + swapped + keys[0][position + 1 :]) is None


# Each process that runs a part of the tests must give a test the same name, so no name has a random key.
@pytest.mark.parametrize(
    "text",
    [
        *("", "motet_", "motet_\n", "x" * 8192, "é"),
        pytest.param(create_key() + "\n", id="a key and a newline"),
        pytest.param(create_key().upper(), id="a key in capitals"),
    ],
)
def test_a_text_of_another_form_is_no_key(text: str) -> None:
    assert key_id_of(text) is None
    with pytest.raises(RefusedError):
        ApiKeys(dict).caller_of(text)


def test_a_key_gives_the_permissions_of_its_record() -> None:
    end = NOW + timedelta(days=1)
    key, record = key_of(models=["nano"], modalities=["a"], max_priority=0, expire_time=end)

    caller = ApiKeys(lambda: {record.id: record}).caller_of(key)

    assert (caller.tenant, caller.roles, caller.models, caller.modalities) == ("acme", {Role.GENERATE}, {"nano"}, {"a"})
    assert (caller.max_priority, caller.expire_time) == (0, end.timestamp())
    assert key not in repr(caller) + repr(record)


def test_the_digest_is_compared_for_every_key_of_the_right_form(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: Counter[str] = Counter()
    key, record = key_of()
    _, gone = key_of(revoke_time=NOW)
    keys = ApiKeys(lambda: {each.id: each for each in (record, gone)})
    from motet.transport.access import api_keys

    real = api_keys.hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared["calls"] += 1
        return real(one, other)

    monkeypatch.setattr(api_keys.hmac, "compare_digest", compare)
    assert keys.caller_of(key)
    with pytest.raises(RefusedError) as caught:
        keys.caller_of(create_key())

    assert caught.value.outcome is Outcome.UNKNOWN_KEY
    assert compared["calls"] == 2


def test_the_file_has_digests_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key, record = key_of()
    add_record(file, record)
    other, second = key_of("other")
    add_record(file, second)

    text = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key not in text
    assert other not in text
    assert json.loads(text.splitlines()[0])["sha256"] == digest_of(key).hex()
    assert list(read_records(file).values()) == [record, second]
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_change_keeps_the_permissions_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    add_record(file, key_of()[1])
    file.chmod(0o640)
    add_record(file, key_of()[1])

    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_revoked_key_stays_in_the_file_with_its_first_time(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key, record = key_of()
    add_record(file, record)
    for minutes in (1, 2):
        revoke(file, record.id, NOW + timedelta(minutes=minutes))

    assert read_records(file)[record.id].revoke_time == NOW + timedelta(minutes=1)
    with pytest.raises(RefusedError) as caught:
        ApiKeys(lambda: read_records(file)).caller_of(key)
    assert caught.value.outcome is Outcome.REVOKED
    with pytest.raises(RequestError, match="no key with the id"):
        revoke(file, "nothing", NOW)


def add_keys(file: Path) -> None:
    for _ in range(5):
        add_record(file, key_of()[1])


def test_processes_that_change_the_file_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add_keys, args=(file,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert len(read_records(file)) == 20


LINE = json.loads(key_of()[1].model_dump_json(exclude_none=True))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"roles": ["orchestrator"]}, "roles"),
        ({"roles": []}, "roles"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "x" * 65}, "tenant"),
        ({"tenant": "a\nb"}, "tenant"),
        ({"sha256": "no"}, "sha256"),
        ({"expire_time": "2030-01-01"}, "expire_time"),
        ({"max_priority": 3}, "max_priority"),
        ({"admin": True}, "admin"),
    ],
)
def test_a_broken_record_is_refused_with_its_line_and_its_field(change: dict[str, Any], named: str) -> None:
    data = "\n".join([json.dumps(LINE), "", json.dumps({**LINE, "id": "a" * 12, **change})])

    with pytest.raises(SettingsError, match=f"line 3 of keys .*{named}"):
        parse_records(data.encode(), "keys")


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b"1", json.dumps(LINE).encode() * 2])
def test_a_line_that_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(SettingsError, match="line 1 of keys"):
        parse_records(data, "keys")


def test_two_records_with_one_id_are_refused() -> None:
    with pytest.raises(SettingsError, match="line 2 of keys has the id"):
        parse_records(b"\n".join([json.dumps(LINE).encode()] * 2), "keys")


def test_a_changed_file_is_used_and_a_broken_or_missing_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first, record = key_of()
    add_record(path, record)
    file = ReloadedFile(path, lambda data: parse_records(data, str(path)), "keys")
    keys = ApiKeys(lambda: file.current)

    path.write_text("{")
    file.reload()
    assert keys.caller_of(first)
    path.unlink()
    file.reload()
    assert keys.caller_of(first)
    second, record = key_of()
    add_record(path, record)
    file.reload()
    assert keys.caller_of(second)
    with pytest.raises(RefusedError):
        keys.caller_of(first)


def test_the_changes_of_a_file_are_the_ids_of_its_added_revoked_changed_and_removed_keys() -> None:
    old = {name: key_of()[1].model_copy(update={"id": name * 12}) for name in "abcd"}
    new = {
        **old,
        "a": old["a"].model_copy(update={"revoke_time": NOW}),
        "b": old["b"].model_copy(update={"max_priority": 0}),
        "e": key_of()[1].model_copy(update={"id": "e" * 12}),
    }
    del new["c"]
    before, after = ({record.id: record for record in records.values()} for records in (old, new))

    assert changes_of(before, after) == {
        "added": ["e" * 12],
        "revoked": ["a" * 12],
        "changed": ["b" * 12],
        "removed": ["c" * 12],
    }
    assert changes_of(before, before) == {}
    many = dict.fromkeys(map(str, range(1000)), old["a"])
    assert changes_of({}, many)["added"] == [*map(str, range(MAX_NAMED)), "1000 in all"]


@pytest.mark.parametrize("content", ["{", None])
def test_a_process_does_not_start_with_a_broken_or_missing_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingsError, match="keys"):
        ReloadedFile(path, lambda data: parse_records(data, str(path)), "keys")
