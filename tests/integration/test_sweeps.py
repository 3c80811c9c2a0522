"""Sweeps beside each other, their ends, and the real service's three doors."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import signal
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from tests.integration.conftest import WAIT_S, Service, Submit, processes_of, until
from toprung import Client
from toprung.tuning.records import SweepState, Trial, TrialState
from toprung.tuning.spec import parse_spec

EXAMPLES = Path(__file__).parents[2] / "examples"


def check_best_model(trial: Trial, folder: Path) -> None:
    """The loss falls with each step, so the last checkpoint is the best: that of the last result, or of the one before
    where the end came between a report and the saving of its checkpoint, which Tune does one after the other."""
    assert trial.checkpoint is not None
    assert trial.best_step is not None
    assert json.loads((folder / "state.json").read_text())["step"] == trial.checkpoint.step
    assert trial.checkpoint.step in (trial.best_step - 1, trial.best_step)


def test_equally_named_trainables_do_not_meet(submit: Submit) -> None:
    one = submit("good", budget={"trials": 2}, wait=False)
    other = submit("good", folder="namesake", budget={"trials": 2}, wait=False)

    assert one.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
    assert other.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
    assert {t.record.metrics["x"] for t in other.trials()} == {-1.0}
    assert all(t.record.step == 9 for t in one.trials())


@pytest.mark.parametrize("trainable", ["endless", "hangs"])
def test_cancel(submit: Submit, trainable: str) -> None:
    sweep = submit(trainable, wait=False)
    until(lambda: any(t.record.step for t in sweep.trials()), timeout_s=120, what="a first result")

    sweep.cancel()

    record = sweep.wait(timeout_s=120, progress=False)
    assert record.state is SweepState.CANCELLED
    assert {t.state for t in sweep.trials()} == {TrialState.CANCELLED}
    assert record.num_results >= 1, "what was reported is kept"


def test_a_target_ends_the_sweep(submit: Submit) -> None:
    sweep = submit("endless", metric={"name": "loss", "goal": "minimize", "target": 0.2}, budget={"trials": 50})

    assert sweep.state is SweepState.SUCCEEDED
    assert "the target 0.2 was reached by trial" in (sweep.record.reason or "")
    assert sweep.record.best is not None
    assert sweep.record.best.value <= 0.2
    assert (sweep.best().state, sweep.best().record.reason) == (TrialState.COMPLETED, "reached the target 0.2")


def test_a_wall_time_budget_ends_the_sweep_and_keeps_the_best_model(submit: Submit, tmp_path: Path) -> None:
    sweep = submit("saves_for_ever", budget={"wall_time_s": 3600}, wait=False)
    until(lambda: any(trial.record.checkpoint for trial in sweep.trials()), timeout_s=WAIT_S, what="a checkpoint")
    sweep.edit(budget={"wall_time_s": 1})  # long over: how long a first step takes here, nobody knows
    sweep.wait(timeout_s=WAIT_S, progress=False)

    assert sweep.state is SweepState.SUCCEEDED
    assert sweep.record.reason == "the budget of 1 s of wall time is used up"
    assert {trial.record.reason for trial in sweep.trials()} == {f"the sweep ended: {sweep.record.reason}"}
    best = sweep.best()
    folder = best.download_checkpoint(tmp_path / "best")
    check_best_model(best.record, folder)


def test_resources_that_no_node_has_are_named(submit: Submit) -> None:
    sweep = submit("good", resources={"cpu": 1, "accelerator_type": "H100"})

    assert sweep.state is SweepState.FAILED
    assert "no node of this cluster can hold a trial: it asks for accelerator_type:H100" in (sweep.record.reason or "")


def test_events_tell_the_whole_story_once(submit: Submit) -> None:
    sweep = submit("good", budget={"trials": 3}, scheduler={"type": "none", "max_t": 4}, wait=False)

    events = list(sweep.events())

    assert [e.id for e in events] == sorted({e.id for e in events})
    assert [e.data["state"] for e in events if e.type == "sweep.state"] == ["queued", "running", "succeeded"]
    assert events[-1].type == "sweep.state"
    for number in range(3):
        states = [e.data["state"] for e in events if e.type == "trial.state" and e.data["number"] == number]
        assert states[-1] == "completed"
        assert sum(e.data["count"] for e in events if e.type == "trial.results" and e.data["number"] == number) == 4


def test_the_three_doors_give_the_same_answer(service: Service, client: Client, tmp_path: Path) -> None:
    """HTTP, the client and the command line submit the same file."""
    text = """
name: doors
trainable: toprung.examples.digits.train:train_digits
metric: {name: val_loss, goal: minimize}
parameters:
  lr: {type: float, low: 1e-3, high: 1e-2, log: true}
  channels: 4
  hidden: 16
  batch_size: 64
  optimizer: adam
  dropout: 0.1
  weight_decay: 1e-4
  epochs: 2
scheduler: {type: asha, max_t: 2}
search: {algorithm: random, seed: 3}
budget: {trials: 1}
"""
    file = tmp_path / "doors.yaml"
    file.write_text(text)
    by_http = httpx.post(f"{service.url}/v1/sweeps", content=text, headers={"Content-Type": "application/yaml"})
    assert by_http.status_code == 201, by_http.text
    first = client.sweep(by_http.json()["id"])
    second = client.submit(file)

    for sweep in (first, second):
        assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
    one, two = first.best(), second.best()
    assert (one.params, one.value) == (two.params, two.value)


@pytest.mark.deep
def test_the_example_of_cifar10_with_its_folder(client: Client) -> None:
    """As shipped, but for its size: two trials of one epoch on the synthetic images."""
    text = (EXAMPLES / "cifar10" / "sweep.yaml").read_text()
    spec = parse_spec(text).model_dump(mode="json")
    spec["scheduler"]["max_t"] = 1
    spec["budget"]["trials"] = 2

    sweep = client.submit(spec, code=EXAMPLES / "cifar10")

    assert sweep.wait(timeout_s=180, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
    best = sweep.best_trials(1)[0]
    assert {"loss", "accuracy"} <= best.metrics.keys()
    assert "synthetic images stand in" in "".join(sweep.trial(0).logs())


def test_a_killed_controller_loses_nothing(service: Service, submit: Submit) -> None:
    sweep = submit("endless", budget={"wall_time_s": 25}, concurrency=1, wait=False)
    until(lambda: any(t.record.step for t in sweep.trials()), timeout_s=120, what="a first result")
    (controller,) = processes_of(service, "ControllerActor")

    os.kill(controller.pid, signal.SIGKILL)

    record = sweep.wait(timeout_s=120, progress=False)
    assert record.state is SweepState.SUCCEEDED, record.reason
    for trial in sweep.trials():
        steps = [result.step for result in trial.results()]
        assert steps == list(range(1, trial.record.step + 1)), "no step is missing or doubled"


@pytest.mark.deep
def test_a_service_that_is_stopped_keeps_what_its_sweeps_reached(tmp_path: Path) -> None:
    first = Service(tmp_path / "home", "--num-cpus", "1")
    spec = {
        "name": "interrupted",
        "trainable": "trainables:saves_for_ever",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "budget": {"trials": 2},
    }
    try:
        sweep = first.client.submit(spec, code=Path(__file__).parent / "userland")
        until(lambda: any(t.record.step > 3 for t in sweep.trials()), timeout_s=120, what="some results")
    finally:
        first.stop()

    second = Service(tmp_path / "home", "--num-cpus", "1")
    try:
        sweep = second.client.sweep("interrupted")
        assert sweep.state is SweepState.CANCELLED
        assert "the service was stopped" in (sweep.record.reason or "")
        best = sweep.best()
        folder = best.download_checkpoint(tmp_path / "best")
        check_best_model(best.record, folder)
    finally:
        second.stop()


def listening(process: psutil.Process) -> list[Any]:
    """The addresses that a process listens on; none if it has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [c.laddr for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return []


def test_nothing_of_the_service_answers_strangers(service: Service) -> None:
    """What is not on loopback (Serve's port between its own deployments) asks for the cluster's token."""
    process = psutil.Process(service.process.pid)
    sockets = [address for each in (process, *process.children(recursive=True)) for address in listening(each)]
    assert service.port in {address.port for address in sockets}
    for address in sockets:
        ip = ipaddress.ip_address(address.ip)
        if ip.is_loopback or (isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped and ip.ipv4_mapped.is_loopback):
            continue
        with grpc.insecure_channel(f"127.0.0.1:{address.port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=60)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, address
