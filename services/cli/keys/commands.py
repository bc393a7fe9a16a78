"""`motet keys`: create, list and revoke API keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motet.answers.printable import printable
from motet.core.request import PRIORITIES
from services.cli.checks.paths import check_file, check_input
from services.cli.checks.streams import STDOUT, check_open
from services.cli.commands import Command, Group
from services.cli.exit import exit_after
from services.cli.keys.durations import duration_of
from services.cli.typer_options import path_of
from services.exit_codes import Exit
from services.terminal import print_status

if TYPE_CHECKING:
    from motet.transport.access.key_records import KeyRecord

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, add_completion=False)

_ROLES = "generate, read or operate"

File = Annotated[
    Path,
    typer.Option(
        "--file", parser=path_of, metavar="FILE", envvar="MOTET_KEYS", help="File of the keys. [env: MOTET_KEYS]"
    ),
]


@app.command(cls=Command)
def create(
    file: File,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Tenant that owns all that callers create with the key.")],
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help=f"Role of the key: {_ROLES}. Repeatable. [default: generate and read]"),
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="DURATION", help="Time until the key expires: 30d, 12h, 15m or never.")
    ] = "90d",
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Model that the key permits. Repeatable. [default: all]")
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Modality of media that the key permits. Repeatable. [default: all]"),
    ] = None,
    max_priority: Annotated[
        int, typer.Option(min=PRIORITIES[0], max=PRIORITIES[-1], help="Highest priority. Higher ones are lowered.")
    ] = PRIORITIES[-1],
    quota_class: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Class of the tenant's quotas, see --quotas of the orchestrator. A class that its file lacks, or that "
            "is removed later, has the limits of the default class.",
        ),
    ] = "",
) -> None:
    """Create a key and print it. It is shown only once: the file has its digest."""
    lifetime = duration_of(expires)

    def run() -> Exit:
        from motet.transport.access.key_file import add_record
        from motet.transport.access.new_key import new_key

        check_open(STDOUT)
        check_file(file)
        now = datetime.now(UTC).replace(microsecond=0)
        key, record = new_key(
            tenant=tenant,
            roles=role or ["generate", "read"],
            models=model or None,
            modalities=modality or None,
            max_priority=max_priority,
            quota_class=quota_class,
            create_time=now,
            expire_time=now + lifetime if lifetime else None,
        )
        add_record(file, record)
        print(key)
        print_status(f"created key {record.id} of {tenant}; it is shown only once, so store it now")
        return Exit.OK

    raise exit_after(run)


@app.command("list", cls=Command)
def list_keys(
    file: File,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object a line.")] = False,
) -> None:
    """Print the ids, tenants and permissions of all keys. No key is shown."""

    def run() -> Exit:
        from motet.transport.access.key_file import read_records

        check_open(STDOUT)
        check_input(file)
        for record in read_records(file).values():
            values = record.model_dump(mode="json", exclude={"sha256"}, exclude_none=True)
            print(json.dumps(values) if as_json else printable(_line_of(record)))
        return Exit.OK

    raise exit_after(run, as_json)


@app.command(cls=Command)
def revoke(file: File, key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key.")]) -> None:
    """Revoke a key. Services that read the file refuse the key within seconds."""

    def run() -> Exit:
        from motet.transport.access.key_file import revoke as revoke_key

        check_input(file)
        record = revoke_key(file, key_id, datetime.now(UTC).replace(microsecond=0))
        print_status(f"revoked key {record.id} of {record.tenant}")
        return Exit.OK

    raise exit_after(run)


def _line_of(record: KeyRecord) -> str:
    limits = [
        f"models {', '.join(sorted(record.models))}" if record.models is not None else "",
        f"media {', '.join(sorted(record.modalities))}" if record.modalities is not None else "",
        f"priority up to {record.max_priority}" if record.max_priority < PRIORITIES[-1] else "",
        f"quota class {record.quota_class}" if record.quota_class else "",
    ]
    words = [record.id, record.tenant, "+".join(sorted(record.roles)), _state_of(record), *filter(None, limits)]
    return "  ".join(words)


def _state_of(record: KeyRecord) -> str:
    if record.revoke_time is not None:
        return f"revoked {record.revoke_time:%Y-%m-%d %H:%M} UTC"
    if record.expire_time is None:
        return "never expires"
    word = "expired" if record.is_expired(datetime.now(UTC)) else "expires"
    return f"{word} {record.expire_time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
