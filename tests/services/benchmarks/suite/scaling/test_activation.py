"""The benchmark `activation`: its figures, and both candidates with real processes."""

from __future__ import annotations

from services.benchmarks.suite.scaling.activation import BARE, MOTET, Samples, candidates, figures_of


def met(seconds: float = 0.01, burst: float = 0.01, messages: int = 1) -> list[bool | None]:
    """Return the verdict of each figure with a bar, of a pool whose bare gRPC takes 10 ms."""
    samples = Samples({MOTET: [seconds], BARE: [0.01]}, {MOTET: [burst], BARE: [0.01]}, [1, messages])
    return [figure.met for figure in figures_of("image", 5, samples) if figure.bar]


def test_a_slow_activation_and_a_second_message_miss_their_bars() -> None:
    assert met() == [True, True, True, True]
    assert met(seconds=0.03) == [False, True, True, True]
    assert met(seconds=0.101) == [False, False, True, True]
    assert met(burst=0.03) == [True, True, False, True]
    assert met(messages=2) == [True, True, True, False]


async def test_a_request_activates_the_pool_of_both_candidates_once_and_its_end_ends_that() -> None:
    async with candidates("image", "image") as pools:
        assert pools.keys() == {MOTET, BARE}
        for watched in pools.values():
            for requests in (1, 4):
                seconds, messages = await watched.activate(requests)
                assert seconds > 0
                assert messages == 1
