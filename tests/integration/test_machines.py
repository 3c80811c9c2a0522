"""`toprung cluster status` and `doctor` on one real service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.conftest import WAIT_S, Service, Submit, until
from tests.unit.cli.cli_help import run


def test_status_shows_what_a_sweep_has_of_the_machine(service: Service, submit: Submit, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    parameters = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "until": str(gate)}
    sweep = submit(
        "holds_on",
        wait=False,
        name="on-the-machine",
        parameters=parameters,
        scheduler={"type": "none"},
        concurrency=2,
    )

    def two_trials() -> dict[str, Any] | None:
        """Alone: what an earlier sweep held Ray takes out of its books some seconds later."""
        found: dict[str, Any] = run("cluster", "status", "--json", "--url", service.url).json
        node, running = (
            found["nodes"][0],
            [row["num_running"] for row in found["sweeps"] if row["sweep_id"] == sweep.id],
        )
        return found if (node["num_trials"], node["cpus_used"], running) == (2, 2.0, [2]) else None

    try:
        seen = until(two_trials, timeout_s=WAIT_S, what="two trials alone on the machine")
        table = run("cluster", "status", "--url", service.url).out
    finally:
        gate.touch()
    assert seen is not None
    (node,) = seen["nodes"]
    assert (node["address"], node["state"], node["is_head"]) == ("127.0.0.1", "alive", True)
    assert (node["cpus"], node["cpus_used"]) == (4.0, 2.0)
    own = next(row for row in seen["sweeps"] if row["sweep_id"] == sweep.id)
    assert (own["state"], own["num_running"], own["share"]) == ("running", 2, 2)
    assert "on-the-machine" in table
    assert "2/4" in table
    sweep.wait(timeout_s=WAIT_S, progress=False)


def test_doctor_asks_the_machine(service: Service) -> None:
    found = run("cluster", "doctor", "--json", "--url", service.url).json

    (report,) = found["nodes"]
    assert report["trouble"] is None
    assert report["vitals"]["packages"]["ray"]
    assert report["storage"] == {str(service.home / "runs"): None}
    assert abs(report["clock_ahead_s"]) < 0.5 + report["clock_error_s"], "it is the same clock"
    # how much room this machine has is its own affair
    assert {finding["code"] for finding in found["findings"]} <= {"disk_small", "disk_full", "few_files", "small_shm"}
    assert not list((service.home / "runs").glob(".toprung-doctor-*")), "nothing is left behind"
