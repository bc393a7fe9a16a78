"""`motet chat`: prompts and answers in turns."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from motet.core.errors import MotetError, NotFoundError
from motet.core.service import Motet
from motet.media.kinds import MODALITIES
from services.cli.attachment import read_attachment
from services.cli.connect import Target, connect
from services.cli.conversation import Conversation
from services.cli.deliver import deliver
from services.cli.output_folder import OutputFolder
from services.cli.request_options import RequestOptions
from services.cli.run import screen_for
from services.exit_codes import Exit, exit_of, exit_of_error

_KNOWN = tuple(dict.fromkeys(MODALITIES.values()))
HELP = f"""\
Say something, or:
  /attach FILE   show a file with the next thing you say; also {", ".join(f"/{name} FILE" for name in _KNOWN)}
  /reset         forget the conversation
  /help          this
  /quit          leave; so does Ctrl-D. Ctrl-C stops an answer."""


class Chat:
    """One person's conversation: what they type, one line at a time, becomes turns or commands."""

    def __init__(self, motet: Motet, wishes: RequestOptions, folder: Path) -> None:
        self._motet = motet
        self._wishes = wishes
        self._folder = OutputFolder(folder)
        self._conversation = Conversation()

    async def take(self, line: str) -> Exit:
        """Act on one line. Raises `MotetError` for what cannot be done; the conversation is then as it was before."""
        if not line.startswith("/"):
            return await self._answer(line)
        command, _, argument = line[1:].partition(" ")
        argument = argument.strip()
        if command == "reset":
            await self._conversation.reset(self._motet)
        elif command == "help":
            print(HELP)
        elif command == "attach" or command in _KNOWN:
            await self._attach(argument, None if command == "attach" else command)
        else:
            print(f"motet: there is no /{command}; /help says what there is", file=sys.stderr)
            return Exit.REFUSED
        return Exit.OK

    async def _attach(self, name: str, modality: str | None) -> None:
        artifact = await self._conversation.attach(read_attachment(Path(name), modality), self._motet)
        print(f"motet: {name} is attached: {artifact.modality}, {artifact.size_bytes:,} bytes", file=sys.stderr)

    async def _answer(self, text: str) -> Exit:
        while True:
            request = self._wishes.request(self._conversation.messages(text))
            try:
                with screen_for(self._folder.path) as screen:
                    delivery = await deliver(self._motet, request, self._folder, screen)
                break
            except NotFoundError as error:
                if not self._conversation.forgotten(error):
                    raise
        if delivery.parts:
            self._conversation.answered(text, delivery)
        if delivery.generation.error is not None:
            raise delivery.generation.error
        return exit_of(delivery.generation)


def chat(wishes: RequestOptions, folder: Path, whereabouts: Target) -> Exit:
    """Talk until the input ends. Returns the last code that was not OK; stopping an answer is.

    Raises `MotetError` when Motet is not there. The loop stands still while a line is typed, so that Ctrl-C means the
    line then, and the answer later.
    """
    last = Exit.OK
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        motet = runner.run(stack.enter_async_context(connect(whereabouts)))
        try:
            talk = Chat(motet, wishes, folder)
            for line in _lines():
                try:
                    code = runner.run(talk.take(line))
                except MotetError as error:
                    print(f"motet: {error.message} ({error.reason})", file=sys.stderr)
                    code = exit_of_error(error)
                except KeyboardInterrupt:
                    print("motet: stopped", file=sys.stderr)
                    code = Exit.OK
                last = code or last
        finally:
            runner.run(stack.aclose())
    return last


def _lines() -> Iterator[str]:
    """What is typed, without blank lines, up to the end of the input or /quit."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        # A byte that is no UTF-8 should not end a conversation.
        sys.stdin.reconfigure(errors="replace")
    prompt = "> " if sys.stdin.isatty() and sys.stdout.isatty() else ""
    if prompt:
        with suppress(ImportError):
            # Gives `input` its line editing.
            import readline  # noqa: F401
        print("motet: /help says what can be typed", file=sys.stderr)
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
