"""The id of the request that the running code works for."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.logs.request_id import checked_request_id, current_request_id, request_id_set


def test_a_task_has_the_id_of_the_task_that_creates_it() -> None:
    async def ids() -> list[str]:
        with request_id_set("a"):
            first = asyncio.create_task(current())
        with request_id_set("b"):
            second = asyncio.create_task(current())
        return [await first, await second, current_request_id()]

    async def current() -> str:
        await asyncio.sleep(0)
        return current_request_id()

    assert asyncio.run(ids()) == ["a", "b", ""]


@pytest.mark.parametrize("given", ["", "a b", "a\nb", "\x1b[2J", "../x", "é", "a" * 129, "a\x00"])
def test_an_id_that_could_change_a_log_line_is_replaced(given: str) -> None:
    assert checked_request_id(given) != given


def test_a_callers_valid_id_is_kept() -> None:
    for given in ("a", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "Root:1-67891233_a.b"):
        assert checked_request_id(given) == given
