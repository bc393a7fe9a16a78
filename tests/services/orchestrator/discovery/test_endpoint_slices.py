"""Tests of the endpoints in EndpointSlices."""

from __future__ import annotations

from typing import Any

import pytest

from services.orchestrator.discovery.endpoint import Endpoint
from services.orchestrator.discovery.endpoint_slices import EndpointSlices
from tests.services.orchestrator.discovery.kubernetes_double import addresses_of, endpoint, slice_of


def slices_of(*slices: dict[str, Any], port: str = "grpc") -> EndpointSlices:
    found = EndpointSlices(port, "decoder.motet.svc")
    found.replace(slices)
    return found


def test_ready_endpoints_of_all_slices_are_endpoints_whose_certificate_has_the_name_of_the_service() -> None:
    found = slices_of(slice_of("b", endpoint("10.0.0.3")), slice_of("a", endpoint("10.0.0.1"), endpoint("fd00::2")))

    name = "decoder.motet.svc"
    assert found.endpoints() == (
        Endpoint("10.0.0.1:50", name),
        Endpoint("10.0.0.3:50", name),
        Endpoint("[fd00::2]:50", name),
    )


def test_an_endpoint_that_is_not_ready_or_terminates_is_left_out() -> None:
    found = slices_of(
        slice_of(
            "a",
            endpoint("10.0.0.1"),
            endpoint("10.0.0.2", ready=False, serving=False),
            endpoint("10.0.0.3", ready=False, serving=True, terminating=True),
        )
    )

    assert addresses_of(found.endpoints()) == ["10.0.0.1:50"]


def test_terminating_endpoints_that_serve_are_used_if_no_other_is_ready() -> None:
    found = slices_of(
        slice_of("a", endpoint("10.0.0.1", ready=False, serving=True, terminating=True)),
        slice_of("b", endpoint("10.0.0.2", ready=False, serving=False)),
    )

    assert addresses_of(found.endpoints()) == ["10.0.0.1:50"]


def test_an_unknown_condition_counts_as_ready() -> None:
    without: dict[str, Any] = {"addresses": ["10.0.0.2"]}
    assert addresses_of(slices_of(slice_of("a", endpoint("10.0.0.1", ready=None), without)).endpoints()) == [
        "10.0.0.1:50",
        "10.0.0.2:50",
    ]


def test_an_endpoint_in_two_slices_is_one() -> None:
    found = slices_of(slice_of("a", endpoint("10.0.0.1", ready=False)), slice_of("b", endpoint("10.0.0.1")))

    assert addresses_of(found.endpoints()) == ["10.0.0.1:50"]


def test_a_port_has_a_name_or_a_number() -> None:
    slices = slice_of("a", endpoint("10.0.0.1"), port=7), slice_of("b", endpoint("10.0.0.2"), port=8)

    assert addresses_of(slices_of(*slices).endpoints()) == ["10.0.0.1:7", "10.0.0.2:8"]
    assert addresses_of(slices_of(*slices, port="8").endpoints()) == ["10.0.0.2:8"]
    without_ports = slice_of("a", endpoint("10.0.0.1")) | {"ports": None}
    assert addresses_of(slices_of(without_ports, port="8").endpoints()) == ["10.0.0.1:8"]


def test_a_port_that_does_not_exist_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert slices_of(slice_of("a", endpoint("10.0.0.1")), port="http").endpoints() == ()
    assert "the pods of decoder.motet.svc have no port http, only: metrics, grpc" in caplog.text


def test_slices_change_by_name() -> None:
    found = slices_of(slice_of("a", endpoint("10.0.0.1")), slice_of("b", endpoint("10.0.0.2")))
    found.set(slice_of("a", endpoint("10.0.0.3")))
    found.remove(slice_of("b"))
    found.remove(slice_of("c"))

    assert addresses_of(found.endpoints()) == ["10.0.0.3:50"]
    found.set(slice_of("a") | {"endpoints": None})
    assert found.endpoints() == ()
