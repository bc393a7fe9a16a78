"""`motet chat`: a conversation in turns."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from motet.answers.output_folder import OutputFolder
from motet.core.errors import MotetError, RequestError
from motet.core.service import Motet
from motet.media.kinds import MODALITIES
from services.cli.attachment import read_attachment
from services.cli.checks.streams import STDIN, STDOUT, check_open
from services.cli.commands import Command
from services.cli.connect import ConnectionSettings, Target, connected, target_of
from services.cli.conversation import ChatConversation
from services.cli.deliver import deliver
from services.cli.exit import exit_after
from services.cli.request_options import RequestOptions, request_options_of
from services.cli.run import screen_for
from services.cli.typer_options import OUT, Out, Server, options_of, path_of, values_of, with_options
from services.exit_codes import Exit, exit_of, exit_of_error
from services.lazy import LANGUAGE_MODEL
from services.settings import ComputeSettings
from services.terminal import print_error, print_status

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_MODALITIES = tuple(dict.fromkeys(MODALITIES.values()))
HELP = f"""\
Type a prompt, or a command:
  /attach FILE   attach a file to the next prompt; also {", ".join(f"/{name} FILE" for name in _MODALITIES)}
  /reset         start a new conversation
  /help          show this text
  /quit          exit; Ctrl-D does the same. Ctrl-C stops an answer."""


@app.command(cls=Command)
@with_options(options_of(RequestOptions), options_of(ComputeSettings), options_of(ConnectionSettings))
def chat(out: Out = OUT, server: Server = None, **options: Any) -> None:
    """Answer prompts until the input ends."""

    def converse() -> Exit:
        check_open(STDIN, STDOUT)
        request_options = request_options_of(values_of(RequestOptions, options))
        request_options.check_output(out)
        target = target_of(server, options)
        return _converse(request_options, out, target)

    raise exit_after(converse)


class Chat:
    """One user's conversation. Each line of input is a prompt or a command."""

    def __init__(self, motet: Motet, options: RequestOptions, folder: Path) -> None:
        self._motet = motet
        self._options = options
        self._folder = OutputFolder(folder)
        self.conversation = ChatConversation()
        """The history, and the attachments of the next turn."""

    async def process(self, line: str) -> Exit:
        """Answer a prompt or run a command. Raises `MotetError`, and leaves the conversation unchanged then."""
        if not line.startswith("/"):
            return await self._answer(line)
        command, _, argument = line[1:].partition(" ")
        argument = argument.strip()
        if command == "reset":
            await self.conversation.reset(self._motet)
        elif command == "help":
            print(HELP)
        elif command == "attach" or command in _MODALITIES:
            await self._attach(argument, None if command == "attach" else command)
        else:
            print_status(f"there is no /{command}; /help lists the commands")
            return Exit.REFUSED
        return Exit.OK

    async def _attach(self, name: str, modality: str | None) -> None:
        try:
            path = path_of(name)
        except typer.BadParameter as error:
            raise RequestError(error.message) from None
        artifact = await self.conversation.attach(read_attachment(path, modality), self._motet)
        print_status(f"{name} is attached: {artifact.modality}, {artifact.size_bytes:,} bytes")

    async def _answer(self, prompt: str) -> Exit:
        while True:
            request = self._options.request(self.conversation.messages(prompt))
            try:
                with screen_for(self._folder.path) as screen:
                    delivery = await deliver(self._motet, request, self._folder, screen)
                break
            except RequestError as error:
                if not self.conversation.recover(error):
                    raise
        if delivery.parts:
            self.conversation.add_turns(prompt, delivery)
        if delivery.generation.error is not None:
            print_error(delivery.generation.error)
        return exit_of(delivery.generation)


def _converse(options: RequestOptions, folder: Path, target: Target) -> Exit:
    """Process lines until the input ends, and return the last exit code that was not OK.

    An answer stopped by Ctrl-C counts as OK. Raises `MotetError` if Motet is not available. Ctrl-C affects the line
    while the user types, and later the answer. The language model loads while the user types the first prompt.
    """
    last = Exit.OK
    with connected(target, [LANGUAGE_MODEL]) as (runner, motet):
        conversation = Chat(motet, options, folder)
        for line in _lines():
            try:
                code = runner.run(conversation.process(line))
            except MotetError as error:
                print_error(error)
                code = exit_of_error(error)
            except KeyboardInterrupt:
                print_status("stopped")
                code = Exit.OK
            last = code or last
    return last


def _lines() -> Iterator[str]:
    """Yield each line of input that is not blank, until the input ends or the user types /quit."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        # A byte that is not UTF-8 must not end the conversation.
        sys.stdin.reconfigure(errors="replace")
    prompt = "> " if sys.stdin.isatty() and sys.stdout.isatty() else ""
    if prompt:
        with suppress(ImportError):
            # The import gives `input` line editing.
            import readline  # noqa: F401
        print_status("/help lists the commands")
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            print()
            continue
        if line in ("/quit", "/exit"):
            return
        if line:
            yield line
