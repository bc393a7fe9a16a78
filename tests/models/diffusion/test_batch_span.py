"""The spans of denoise batches, and their links with the requests in them."""

from __future__ import annotations

import asyncio

from motet.core.tracing.span import UnrecordedSpan, current_span, spanning
from motet.core.tracing.trace_context import TraceContext
from services.tracing.settings import TracingSettings
from services.tracing.tracing import traced
from tests.models.diffusion.conftest import MakeDecoder
from tests.models.diffusion.watched_model import job, measured, media
from tests.services.tracing.collector import collecting


async def test_a_batch_and_its_requests_have_links_to_each_other(make_decoder: MakeDecoder) -> None:
    decoder, model = make_decoder(measured(4))

    async def request(seed: int, steps: int) -> None:
        with spanning(f"request {seed}"):
            await media(decoder, job(seed=seed, steps=steps))

    model.hold()
    with collecting() as collector:
        async with traced(TracingSettings(tracing_endpoint=collector.endpoint), "decoder"):
            first = asyncio.create_task(request(1, steps=5))
            await model.begun(1)
            second = asyncio.create_task(request(2, steps=2))
            await asyncio.sleep(0)
            model.release()
            await asyncio.gather(first, second)
            decoder.close()

    requests = {collector.only(f"request {seed}").span.span_id: seed for seed in (1, 2)}
    batches = {seen.span.span_id: seen for seen in collector.named("denoise batch")}
    found = {
        tuple(sorted(requests[link.span_id] for link in seen.span.links)): seen.attributes["motet.steps"]
        for seen in batches.values()
    }
    assert found == {(1,): 3, (1, 2): 2}
    linked = {seed: {link.span_id for link in collector.only(f"request {seed}").span.links} for seed in (1, 2)}
    assert linked[1] == batches.keys()
    assert {batches[each].attributes["motet.batch_size"] for each in linked[2]} == {2}
    # A batch belongs to several requests, so it is the child of none.
    assert not any(seen.span.parent_span_id for seen in batches.values())


async def test_a_batch_has_a_span_if_a_request_in_it_is_traced_whatever_the_ratio_is(make_decoder: MakeDecoder) -> None:
    decoder, _ = make_decoder(measured(4))
    caller = UnrecordedSpan(TraceContext(1, 2, True))
    with collecting() as collector:
        async with traced(TracingSettings(tracing_endpoint=collector.endpoint, tracing_ratio=0.0), "decoder"):
            with spanning("request", parent=caller):
                await media(decoder, job(seed=1, steps=2))
            decoder.close()

    assert len(collector.named("denoise batch")) == 1


async def test_batches_without_a_traced_request_have_no_span(make_decoder: MakeDecoder) -> None:
    decoder, _ = make_decoder(measured(4))
    with collecting() as collector:
        async with traced(TracingSettings(tracing_endpoint=collector.endpoint, tracing_ratio=0.0), "decoder"):
            with spanning("request"):
                assert not current_span().recording
                await media(decoder, job(seed=1, steps=2))
            decoder.close()

    assert collector.spans == []
