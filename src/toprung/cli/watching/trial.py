"""One trial full-screen: how far it came and why it is in its state, its curve, its configuration, its log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Log, Static

from toprung.cli.explain import story
from toprung.cli.watching.chart import Curve, chart
from toprung.cli.watching.reading import new_points
from toprung.cli.words import STATE_STYLES, flat, number
from toprung.errors import ToprungError

if TYPE_CHECKING:
    from toprung.client import AsyncSweepHandle
    from toprung.tuning.records import Decision, Trial

EVERY_S = 1.0
LOG_LINES = 5_000
"""The last lines of the log that are kept."""


class TrialScreen(Screen[None]):
    """Stays up to date until it is left."""

    CSS = """
    TrialScreen { background: transparent; }
    #about { height: auto; max-height: 45%; padding: 0 1; }
    #curve { height: 30%; min-height: 6; padding: 0 1; }
    #log { height: 1fr; border-top: solid $primary; background: transparent; overflow: auto; scrollbar-size: 1 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,escape,backspace", "back", "Back", key_display="q")]

    def __init__(self, handle: AsyncSweepHandle, trial: Trial) -> None:
        super().__init__()
        self._handle, self._trial = handle, trial
        self._decisions: list[Decision] = []
        self._points: list[tuple[int, float]] = []

    def compose(self) -> ComposeResult:
        yield Static(id="about")
        yield Static(id="curve")
        log = Log(id="log", max_lines=LOG_LINES, auto_scroll=True)
        log.border_title = "log"
        yield log
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._read_on()
        self._follow_log()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_back(self) -> None:
        self.dismiss()

    @work
    async def _read_on(self) -> None:
        while True:
            try:
                self._trial = (await self._handle.trial(self._trial.number)).record
                self._points += await new_points(self._handle, self._trial, self._points)
                self._decisions = [made async for made in self._handle.decisions(number=self._trial.number)]
            except ToprungError as error:
                self.notify(error.detail, severity="warning")
            self._draw()
            if self._trial.state.finished:
                return
            await asyncio.sleep(EVERY_S)

    @work
    async def _follow_log(self) -> None:
        log = self.query_one(Log)
        try:
            async for text in (await self._handle.trial(self._trial.number)).logs(follow=True):
                log.write(text)
        except ToprungError as error:
            log.write_line(error.detail)

    def _draw(self) -> None:
        self.query_one("#about", Static).update(self._about())
        box = self.query_one("#curve", Static)
        curve = Curve(self._handle.record.spec.metric.name, "cyan", self._points)
        box.update(chart([curve], box.content_size.width, box.content_size.height))

    def _about(self) -> Text:
        trial, sweep = self._trial, self._handle.record
        head = Text.assemble((f"trial {trial.number}", "bold"), f" of {sweep.name}  ")
        head.append(trial.state, STATE_STYLES.get(trial.state, ""))
        lines = [head, *(Text(f"  {sentence}") for sentence in story(trial, sweep.spec.metric.name))]
        if self._decisions:
            lines.append(_decided(self._decisions))
        settings = "  ".join(f"{name}={number(value)}" for name, value in flat(trial.config).items())
        lines.append(Text(f"  {settings}", "dim"))
        if trial.failure is not None and trial.failure.traceback:
            lines.append(Text(trial.failure.traceback.rstrip(), "red"))
        return Text("\n").join(lines)


def _decided(decisions: list[Decision]) -> Text:
    line = Text("  rungs")
    for made in decisions:
        line.append(f"  {made.rung} ", "bold").append(f"▏{made.action}, rank {made.rank} of {made.seen}")
    return line
