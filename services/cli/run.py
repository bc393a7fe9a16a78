"""`motet run`: one prompt, one answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from motet.core.request import ArtifactName
from services.cli.attachment import Attachment
from services.cli.connect import Target, connect
from services.cli.deliver import deliver
from services.cli.output_folder import OutputFolder
from services.cli.request_options import RequestOptions, user_turn
from services.cli.screens.screen import Screen
from services.exit_codes import Exit, exit_of


async def run(
    prompt: str,
    attachments: Sequence[Attachment],
    wishes: RequestOptions,
    folder: Path,
    whereabouts: Target,
    as_json: bool,
) -> Exit:
    """Have a prompt answered, files and all. Raises `MotetError` when there is no answer."""
    async with connect(whereabouts) as motet:
        shown = [ArtifactName((await attachment.upload(motet)).name) for attachment in attachments]
        request = wishes.request([user_turn(prompt, shown)])
        with screen_for(folder, as_json) as screen:
            delivery = await deliver(motet, request, OutputFolder(folder), screen)
    error = delivery.generation.error
    if error is not None and not as_json:
        print(f"motet: {error.message} ({error.reason})", file=sys.stderr)
    return exit_of(delivery.generation)


def screen_for(folder: Path, as_json: bool = False) -> Screen:
    """What suits standard output: bars on a terminal, lines in a pipe, JSON lines when asked for."""
    if as_json:
        from services.cli.screens.json_lines import JsonScreen

        return JsonScreen()
    if sys.stdout.isatty():
        from services.cli.screens.live_screen import LiveScreen

        return LiveScreen(folder)
    from services.cli.screens.plain_screen import PlainScreen

    return PlainScreen(folder)
