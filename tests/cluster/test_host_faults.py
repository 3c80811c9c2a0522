"""Machines that go while a sweep runs: switched off, cut off, the head's Ray and the head itself started anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.cluster.faults import Faults
from tests.cluster.hosts import Lab, lab_of, why_not
from tests.cluster.started import Started

pytestmark = [pytest.mark.deep, pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")]

logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of("trf", "10.213.9", head=11, w1=21, w2=22, w3=23, w4=24) as made:
        yield made


@pytest.fixture(scope="module")
def started(lab: Lab) -> Started:
    made = Started(lab)
    made.wait_for_spare("head")  # on the head: the sweep's runner is on none of the machines that go
    return made


def test_trials_go_on_elsewhere_when_a_machine_is_switched_off_or_cut_off(lab: Lab, started: Started) -> None:
    started.add("w1", "--num-cpus=1")
    started.add("w2", "--num-cpus=1")
    sweep = Faults(started, "machines-go", trials=2)
    places = sweep.wait_until_all_train()
    assert sorted(places.values()) == ["w1", "w2"]
    started.add("w3", "--num-cpus=2")
    on = {machine: number for number, machine in places.items()}

    off = sweep.recovery_from(lab["w1"].power_off, on["w1"])
    cut = sweep.recovery_from(lab["w2"].unplug, on["w2"])

    trials = sweep.finish()
    assert [trial["state"] for trial in trials] == ["completed"] * 2
    assert [(trial["attempt"], trial["num_failures"]) for trial in trials] == [(2, 0)] * 2, "the machines were at fault"
    assert sweep.steps_missing() == 0
    for what, recovery in (("switched off", off()), ("cut off", cut())):
        logger.info("a machine was %s: %s", what, recovery)
        assert recovery.repeated <= 2, "at most what was trained since the last checkpoint"


def test_sweeps_go_on_when_the_head_starts_anew(lab: Lab, started: Started) -> None:
    started.add("w4", "--num-cpus=2")
    sweep = Faults(started, "head-goes", trials=2)
    sweep.wait_until_all_train()

    started.restart_gcs()
    sweep.wait_for_more()
    assert {trial["attempt"] for trial in started.trials("head-goes")} == {1}, "nothing of it was lost"

    lab["head"].power_off()
    lab["head"].power_on()
    started.start_head()
    sweep.wait_for_more()

    trials = sweep.finish()
    assert [trial["state"] for trial in trials] == ["completed"] * 2
    assert [trial["num_failures"] for trial in trials] == [0, 0]
    assert sweep.steps_missing() == 0
    assert {node["name"] for node in started.get("/v1/cluster")["nodes"] if node["state"] == "alive"} >= {
        "head",
        "w4",
    }
