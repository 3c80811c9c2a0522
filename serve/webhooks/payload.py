"""What webhooks say."""

from __future__ import annotations

import json
from typing import Any

from toprung.tuning.records import Milestone, Sweep, Trial, utc_now
from toprung.tuning.webhooks import WebhookEvent, WebhookFormat

MAX_MESSAGE = 1_000
"""Characters of an exception's text."""


def body(
    format: WebhookFormat,
    event: WebhookEvent,
    sweep: Sweep,
    link: str,
    *,
    trial: Trial | None = None,
    milestone: Milestone | None = None,
) -> str:
    """A message about a sweep.

    Args:
        link: the sweep's page.
        trial: that the event is about.
        milestone: of the budget.
    """
    if format is WebhookFormat.SLACK:
        return _slack(_sentence(event, sweep, link, trial, milestone))
    data: dict[str, Any] = {"sweep": _summary(sweep), "link": link}
    if trial is not None:
        data["trial"] = _of_trial(trial)
    if milestone is not None:
        data["budget"] = milestone.model_dump(mode="json")
    return _standard(event, data)


def test_body(format: WebhookFormat) -> str:
    """A message that only tries the address."""
    said = "Toprung can reach this address."
    return _slack(said) if format is WebhookFormat.SLACK else _standard("test", {"message": said})


def _standard(event: str, data: dict[str, Any]) -> str:
    timestamp = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": event, "timestamp": timestamp, "data": data}, ensure_ascii=False, allow_nan=False)


def _summary(sweep: Sweep) -> dict[str, Any]:
    kept = {"id", "name", "owner", "state", "reason", "trials", "num_trials", "best", "num_results", "gpu_hours"}
    times = {"cost", "created_at", "started_at", "ended_at"}
    metric = sweep.spec.metric
    return sweep.model_dump(mode="json", include=kept | times) | {"metric": metric.name, "goal": metric.goal}


def _of_trial(trial: Trial) -> dict[str, Any]:
    kept = {"number", "state", "params", "step", "value", "best_step", "attempt", "reason"}
    failure = trial.failure
    return trial.model_dump(mode="json", include=kept) | {
        "failure": None if failure is None else {"kind": failure.kind, "message": failure.message[:MAX_MESSAGE]}
    }


# -- Slack ----------------------------------------------------------------------------------------------------------


def _slack(text: str) -> str:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    return json.dumps({"text": text, "blocks": [section]}, ensure_ascii=False)


def _sentence(event: WebhookEvent, sweep: Sweep, link: str, trial: Trial | None, milestone: Milestone | None) -> str:
    name = f"<{link}|{_escaped(sweep.name)}>"
    if event is WebhookEvent.SWEEP_ENDED:
        ended = sum(count for state, count in sweep.trials.items() if state.finished)
        said = f"*{name} {sweep.state}* after {ended:,} trials{_best(sweep)}."
        return f"{said}\n{_escaped(sweep.reason[:MAX_MESSAGE])}" if sweep.reason else said
    if event is WebhookEvent.SWEEP_BEST:
        return f"{name}: new best{_best(sweep).removeprefix(', best')}."
    if event is WebhookEvent.SWEEP_BUDGET and milestone is not None:
        used = f"{milestone.used:.3g} of {milestone.limit:.3g}"
        return f"{name} has used {milestone.percent} % of budget.{milestone.budget} ({used}){_best(sweep)}."
    assert trial is not None
    message = trial.failure.message if trial.failure else trial.reason or "failed"
    return f"{name}: trial {trial.number} failed at step {trial.step}\n```{_escaped(message[:MAX_MESSAGE])}```"


def _best(sweep: Sweep) -> str:
    if sweep.best is None:
        return ""
    best = sweep.best
    return f", best {_escaped(sweep.spec.metric.name)} *{best.value:.4g}* (trial {best.number}, step {best.step})"


def _escaped(text: str) -> str:
    """Slack's three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
