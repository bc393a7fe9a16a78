"""`motet run`: one prompt, one answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from motet.answers.options import user_message
from motet.answers.output_folder import OutputFolder
from motet.answers.timeline import timeline_of
from motet.core.request import ArtifactName
from motet.core.service import Motet
from services.cli.attachment import ATTACH_OPTIONS, Attach, Attachment, attachments_of
from services.cli.checks.streams import STDIN, STDOUT, check_open
from services.cli.commands import OrderedCommand, typed_order
from services.cli.connect import ConnectionSettings, connected, target_of
from services.cli.deliver import Delivery, deliver
from services.cli.exit import exit_after
from services.cli.request_options import RequestOptions, prompt_of, request_options_of
from services.cli.screens.screen import Screen
from services.cli.timeline.picture import TimelineFile, check_picture, draw
from services.cli.typer_options import OUT, Json, Out, Server, options_of, values_of, with_options
from services.exit_codes import Exit, exit_of
from services.lazy import ENCODER, LANGUAGE_MODEL
from services.settings import ComputeSettings
from services.terminal import print_error

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=OrderedCommand)
@with_options(ATTACH_OPTIONS, options_of(RequestOptions), options_of(ComputeSettings), options_of(ConnectionSettings))
def run(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="The prompt. '-' reads it from standard input.")],
    attach: Attach = None,
    out: Out = OUT,
    as_json: Json = False,
    server: Server = None,
    timeline: TimelineFile = None,
    **options: Any,
) -> None:
    """Answer the prompt and exit."""

    def answer_prompt() -> Exit:
        check_open(STDOUT, *([STDIN] if prompt == "-" else []))
        # A prompt from standard input may take a person a while. The workers load in the meantime.
        text = None if prompt == "-" else prompt_of(prompt)
        attachments = attachments_of(options, attach, typed_order(context))
        request_options = request_options_of(values_of(RequestOptions, options))
        request_options.check_output(out)
        if timeline is not None:
            check_picture(timeline)
        # The encoder's first call makes the language model load.
        with connected(target_of(server, options), [ENCODER if attachments else LANGUAGE_MODEL]) as (runner, motet):
            text = prompt_of(prompt) if text is None else text
            delivery = runner.run(_answer(motet, text, attachments, request_options, out, as_json))
        if timeline is not None:
            draw(timeline_of(delivery.generation, delivery.plan), timeline)
        return exit_of(delivery.generation)

    raise exit_after(answer_prompt, as_json)


async def _answer(
    motet: Motet, prompt: str, attachments: Sequence[Attachment], options: RequestOptions, folder: Path, as_json: bool
) -> Delivery:
    """Deliver the answer to a prompt and its attachments. Raises `MotetError` if there is no answer."""
    media = [ArtifactName((await attachment.upload(motet)).name) for attachment in attachments]
    request = options.request([user_message(prompt, media)])
    with screen_for(folder, as_json) as screen:
        delivery = await deliver(motet, request, OutputFolder(folder), screen)
    error = delivery.generation.error
    if error is not None and not as_json:
        print_error(error)
    return delivery


def screen_for(folder: Path, as_json: bool = False) -> Screen:
    """Return the screen for standard output: JSON lines with `as_json`, bars on a terminal, plain lines in a pipe."""
    if as_json:
        from services.cli.screens.json_lines import JsonScreen

        return JsonScreen()
    if sys.stdout.isatty():
        from services.cli.screens.live_screen import LiveScreen

        return LiveScreen(folder)
    from services.cli.screens.plain_screen import PlainScreen

    return PlainScreen(folder)
