"""`motet run`: one prompt, one answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from motet.core.request import ArtifactName
from services.attachment import Attachment
from services.delivery import deliver
from services.exits import Exit, exit_of
from services.folder import OutputFolder
from services.reach import Whereabouts, reach
from services.screen import Screen
from services.wishes import Wishes, user_turn


async def run(
    prompt: str,
    attachments: Sequence[Attachment],
    wishes: Wishes,
    folder: Path,
    whereabouts: Whereabouts,
    as_json: bool,
) -> Exit:
    """Have a prompt answered, files and all. Raises `MotetError` when there is no answer."""
    async with reach(whereabouts) as motet:
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
        from services.json_lines import JsonScreen

        return JsonScreen()
    if sys.stdout.isatty():
        from services.live import LiveScreen

        return LiveScreen(folder)
    from services.plain import PlainScreen

    return PlainScreen(folder)
