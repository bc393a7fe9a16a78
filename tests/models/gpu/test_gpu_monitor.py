"""Tests of the readings of a GPU, with a fake NVML library behind the real bindings, in a process that is scraped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.gpu.fake_nvml import compiled, monitored, needs_compiler

pytestmark = needs_compiler

UUIDS = [f"GPU-{gpu}0000000-1111-2222-3333-444444444444" for gpu in range(2)]
INSTANCES = [f"MIG-1{instance}000000-1111-2222-3333-444444444444" for instance in range(2)]
READABLE, ANY = "readable", ()
NOT_SUPPORTED, UNKNOWN, LIB_MISMATCH = 3, 999, 18


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("nvml"))


def test_a_scrape_has_the_readings_of_the_gpu_and_their_base_units(library: Path, tmp_path: Path) -> None:
    with monitored(library, tmp_path, throttle_0=0x44) as process:
        found = process.scrape()
        info = process.info()

    assert info == {
        "component": "decoder",
        "gpu_uuid": UUIDS[0],
        "mig_uuid": "",
        "mig_profile": "",
        "name": "NVIDIA Fake 80GB",
        "driver": "580.65.06",
    }
    assert found[READABLE] == {ANY: 1}
    assert found["utilization_ratio"] == {("compute",): 0.5, ("memory",): 0.2, ("nvenc",): 0.3, ("nvdec",): 0.4}
    assert found["memory_bytes"] == {("used",): 300, ("free",): 600, ("reserved",): 100}
    assert (found["power_watts"], found["temperature_celsius"]) == ({ANY: 250}, {ANY: 61})
    assert {reason for (reason,), value in found["throttled"].items() if value} == {"sw_power_cap", "hw_thermal"}
    assert {reason for (reason,), value in found["throttled"].items() if not value} >= {"sw_thermal", "hw_slowdown"}


def test_each_scrape_reads_anew_and_energy_is_counted_from_the_first_one(library: Path, tmp_path: Path) -> None:
    with monitored(library, tmp_path, energy_0=5_000_000) as process:
        first = process.scrape()
        process.set("energy_0", 5_002_500)
        process.set("power_0", 700_000)
        second = process.scrape()
        process.set("energy_0", 1_000)  # The driver was loaded again.
        third = process.scrape()

    energies = [found["energy_joules_total"][ANY] for found in (first, second, third)]
    assert energies == [0, 2.5, 3.5]
    assert second["power_watts"] == {ANY: 700}


def test_an_instance_of_a_gpu_has_the_uuid_of_its_gpu_and_memory_of_its_own(library: Path, tmp_path: Path) -> None:
    with monitored(library, tmp_path, visible=f"{UUIDS[0]},{INSTANCES[1]}", index=1, mig_1=1) as process:
        found, info = process.scrape(), process.info()

    assert (info["gpu_uuid"], info["mig_uuid"]) == (UUIDS[1], INSTANCES[1])
    assert (info["mig_profile"], info["name"]) == ("1g.10gb", "NVIDIA Fake 80GB")
    assert found["memory_bytes"] == {("used",): 30, ("free",): 60, ("reserved",): 100}
    # The driver has no compute utilization of a GPU with MIG.
    assert found["utilization_ratio"] == {("nvenc",): 0.3, ("nvdec",): 0.4}
    assert found["power_watts"] == {ANY: 250}


def test_a_process_without_a_visible_gpu_exports_no_readings(library: Path, tmp_path: Path) -> None:
    with monitored(library, tmp_path, visible="") as process:
        assert process.scrape() == {READABLE: {ANY: 0}}


async def test_an_xid_error_is_counted_although_no_scrape_waits_for_it(library: Path, tmp_path: Path) -> None:
    with monitored(library, tmp_path) as process:
        before = process.scrape()["xid_errors_total"]
        process.set("xid", 79)
        await process.until("xid_errors_total", ("79",), 1)
        process.set("xid", 12345)
        await process.until("xid_errors_total", ("other",), 1)
        after = process.scrape()["xid_errors_total"]

    # A counter that begins with 1 has no increase.
    assert before.keys() == after.keys()
    assert set(before.values()) == {0}


def test_functions_that_an_old_driver_lacks_leave_out_their_readings_only(tmp_path: Path) -> None:
    library = compiled(tmp_path / "library", "-DOLD_DRIVER")
    with monitored(library, tmp_path / "state", throttle_0=0x08) as process:
        found = process.scrape()

    assert found[READABLE] == {ANY: 1}
    assert found["memory_bytes"] == {("used",): 400, ("free",): 600}
    assert found["throttled"][("hw_slowdown",)] == 1
    assert found["power_watts"] == {ANY: 250}


def test_a_reading_that_a_gpu_does_not_support_is_absent_and_the_others_stay(library: Path, tmp_path: Path) -> None:
    (tmp_path / "error").mkdir()
    (tmp_path / "error" / "nvmlDeviceRegisterEvents").write_text(str(NOT_SUPPORTED))
    with monitored(library, tmp_path) as process:
        every = process.scrape()
        assert every[READABLE] == {ANY: 1}
        for function, family in (
            ("nvmlDeviceGetPowerUsage", "power_watts"),
            ("nvmlDeviceGetTemperature", "temperature_celsius"),
            ("nvmlDeviceGetCurrentClocksEventReasons", "throttled"),
        ):
            process.set(f"error/{function}", NOT_SUPPORTED)
            process.set("error/nvmlDeviceGetCurrentClocksThrottleReasons", NOT_SUPPORTED)
            assert every.keys() - process.scrape().keys() == {family}
            process.unset(f"error/{function}")
            process.unset("error/nvmlDeviceGetCurrentClocksThrottleReasons")


async def test_a_library_that_stops_working_removes_the_readings_until_it_works_again(
    library: Path, tmp_path: Path
) -> None:
    with monitored(library, tmp_path) as process:
        assert process.scrape()[READABLE] == {ANY: 1}
        process.set("error/all", LIB_MISMATCH)
        lost = process.scrape()
        process.unset("error/all")
        process.set("power_0", 90_000)
        back = process.scrape()
        process.set("error/nvmlDeviceGetPowerUsage", UNKNOWN)
        lost_again = process.scrape()
        process.unset("error/nvmlDeviceGetPowerUsage")
        process.scrape()
        process.set("xid", 13)
        await process.until("xid_errors_total", ("13",), 1)

    assert lost[READABLE] == lost_again[READABLE] == {ANY: 0}
    assert not {"power_watts", "memory_bytes", "info"} & {*lost, *lost_again}
    assert back[READABLE] == {ANY: 1}
    assert back["power_watts"] == {ANY: 90}


@pytest.mark.parametrize("function", ["nvmlDeviceGetUtilizationRates", "nvmlEventSetWait_v2"])
async def test_a_call_that_hangs_blocks_no_scrape_and_no_event_loop(
    library: Path, tmp_path: Path, function: str
) -> None:
    (tmp_path / "hang").mkdir()
    (tmp_path / "hang" / function).touch()
    with monitored(library, tmp_path, max_age=0.0) as process:
        # No response waits for the call, and the process can end.
        for _ in range(3):
            found = process.scrape()
            assert process.health() == 200
        if function == "nvmlEventSetWait_v2":
            assert found[READABLE] == {ANY: 1}
            return
        assert found[READABLE] == {ANY: 0}
        assert not found.keys() & {"info", "memory_bytes", "power_watts"}
        process.unset(f"hang/{function}")
        await process.until(READABLE, ANY, 1)
        assert process.scrape()["power_watts"] == {ANY: 250}
        process.set(f"hang/{function}", 1)


def test_readings_outlive_a_slow_call_until_they_are_too_old(library: Path, tmp_path: Path) -> None:
    with monitored(library, tmp_path) as process:
        process.scrape()
        process.set("hang/nvmlDeviceGetUtilizationRates", 1)
        found = process.scrape()

    assert (found[READABLE], found["power_watts"]) == ({ANY: 1}, {ANY: 250})


def test_a_machine_without_the_library_has_no_readable_gpu(tmp_path: Path) -> None:
    with monitored(None, tmp_path) as process:
        assert process.scrape() == {READABLE: {ANY: 0}}
