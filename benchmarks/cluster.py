"""A cluster of separate hosts: how soon it trains, its rate by hosts, how it gets over lost ones.

The hosts are namespaces on this machine, each with its own address, processes and disks (`tests/cluster/hosts.py`):
that takes root and the tests' packages. Ray and the service are started on them as cluster/on-prem.yaml does it. All
of them share this machine's cores, so trials sleep instead of computing, and times are upper bounds.

    start_to_first_result_s  from `ray start` on the head, with one worker, to the first result of a sweep
    trials_per_s             trials of half a second each, two at a time on a host; from the first begin to the last end
    recover_s                from the fault until a trial of that host reports its next step on another, a free one
    notice_s                 the part of it until the sweep knows

Summary: `start_to_first_result_s`, `trials_per_s_1_host` to `_3_hosts`, `recover_s_power_off`, `recover_s_cable`,
`trials_lost` (that did not complete) and `results_repeated` (steps that were trained twice), in the sweep whose hosts
were switched off and cut off.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from common import Row, parser, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the hosts are the tests'

from tests.cluster.faults import Faults, Recovery
from tests.cluster.hosts import Lab, lab_of, why_not
from tests.cluster.started import Started

from toprung.cli.words import plural

TRIAL_S = 0.5
PLACES = 2
SPEC = """\
trainable: train:train
code: .
metric: {{name: loss, goal: minimize}}
parameters: {{x: {{type: float, low: 0, high: 1}}}}
search: {{algorithm: random, seed: 1}}
scheduler: {{type: none}}
budget: {{trials: {trials}}}
tracking: {{tensorboard: false}}
"""
TRAIN = f"""\
import time

def train(config):
    time.sleep({TRIAL_S})
    return {{"loss": config["x"]}}
"""


def recoveries(hosts: Lab, cluster: Started) -> tuple[dict[str, Recovery], int]:
    """Of a host that is switched off and one that is cut off; and how many trials did not complete."""
    cluster.wait_for_spare("w3")  # the sweep's runner: on no host that goes
    for name in ("w1", "w2"):
        cluster.add(name, "--num-cpus=1")
    sweep = Faults(cluster, "faults", trials=2 + PLACES)
    on = {host: number for number, host in sweep.wait_until_all_train().items()}
    cluster.add("w4", f"--num-cpus={PLACES}")
    known = {
        "power_off": sweep.recovery_from(hosts["w1"].power_off, on["w1"]),
        "cable": sweep.recovery_from(hosts["w2"].unplug, on["w2"]),
    }
    lost = sum(trial["state"] != "completed" for trial in sweep.finish())
    hosts["w2"].power_off()  # Ray there goes on for a minute, on these cores
    return {fault: recovery() for fault, recovery in known.items()}, lost


def rates(cluster: Started, hosts: int, *, rounds: int, a_place: int) -> Row:
    """Of sweeps with `a_place` trials for each place."""
    say(f"{plural(hosts, 'host')}")
    values = tuple(_rate(cluster, f"rate-{hosts}-{n}", a_place * PLACES * hosts) for n in range(rounds))
    return Row(plural(hosts, "host"), "trials_per_s", "1/s", values)


def _rate(cluster: Started, name: str, trials: int) -> float:
    cluster.submit(name, SPEC.format(trials=trials), TRAIN)
    cluster.wait(name)
    ended = cluster.trials(name)
    assert len(ended) == trials, f"{len(ended)} trials"
    return trials / (max(_at(trial, "ended_at") for trial in ended) - min(_at(trial, "started_at") for trial in ended))


def _at(trial: dict[str, Any], moment: str) -> float:
    return datetime.fromisoformat(trial[moment]).timestamp()


def say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)


def main() -> None:
    args = parser(__doc__).parse_args()
    if (reason := why_not()) is not None:
        raise SystemExit(f"There can be no hosts in namespaces here: {reason}")
    size = {"rounds": 1, "a_place": 10} if args.quick else {"rounds": 3, "a_place": 15}
    with lab_of("trb", "10.213.10", head=11, w1=21, w2=22, w3=23, w4=24, w5=25) as hosts:
        say("the start")
        began = time.time()
        cluster = Started(hosts)
        cluster.add("w3", f"--num-cpus={PLACES}")
        first = Faults(cluster, "first", trials=1)
        first.wait_until_all_train()
        first.finish()
        start_s = first.first_result_at() - began
        by_hosts = [rates(cluster, 1, **size)]
        say("lost hosts")
        found, lost = recoveries(hosts, cluster)
        by_hosts.append(rates(cluster, 2, **size))
        cluster.add("w5", f"--num-cpus={PLACES}")
        by_hosts.append(rates(cluster, 3, **size))
    rows = [Row("toprung", "start_to_first_result_s", "s", (start_s,)), *by_hosts]
    for fault, recovery in found.items():
        rows += [
            Row(fault, "notice_s", "s", (recovery.noticed_s,)),
            Row(fault, "recover_s", "s", (recovery.recovered_s,)),
        ]
    summary = {
        "start_to_first_result_s": start_s,
        **{f"trials_per_s_{row.contender.replace(' ', '_')}": row.median for row in by_hosts},
        **{f"recover_s_{fault}": recovery.recovered_s for fault, recovery in found.items()},
        "trials_lost": float(lost),
        "results_repeated": float(sum(recovery.repeated for recovery in found.values())),
    }
    publish(rows, summary, args.json)


if __name__ == "__main__":
    main()
