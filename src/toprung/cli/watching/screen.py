"""`toprung watch` on a terminal: the sweep full-screen, until it ends or the user leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Static

from toprung.cli.watching.chart import chart
from toprung.cli.watching.confirm import Confirm
from toprung.cli.watching.head import head
from toprung.cli.watching.reading import PAGE, Reading
from toprung.cli.watching.table import GAP, Column, columns
from toprung.cli.watching.trial import TrialScreen
from toprung.errors import NoService, ToprungError, Unavailable

if TYPE_CHECKING:
    from toprung.client import AsyncSweepHandle
    from toprung.tuning.records import Sweep

W = TypeVar("W", bound=Widget)
EVERY_S = 1.0
"""How often the service is asked, as long as its answers take no longer than a quarter of that."""
LOW = 20
"""A terminal with fewer lines has no room for curves."""


class Ending(StrEnum):
    """How the view came to its end."""

    ENDED = "ended"
    """The sweep has."""
    LEFT = "left"
    INTERRUPTED = "interrupted"
    """By Ctrl-C or SIGTERM."""


class Trials(DataTable[Text]):
    """The table; enter shows among the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "One trial")]


class WatchApp(App[Ending]):
    """The view.

    Args:
        handle: the sweep, of a client that lives as long as the view.
        leaving: what leaving does, in a word or two.
    """

    CSS = """
    Screen { background: transparent; overflow: hidden; }
    #head { height: auto; max-height: 4; padding: 0 1; }
    #trials { height: 1fr; background: transparent; scrollbar-size-vertical: 1; }
    #trials > .datatable--header { background: transparent; text-style: bold; }
    #curves { height: 30%; min-height: 7; padding: 0 1; }
    #said { height: 1; padding: 0 1; color: $text-muted; }
    .low #curves { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "Sort"),
        Binding("p", "pause", "Pause/resume"),
        Binding("c", "cancel", "Cancel"),
        Binding("q,escape", "leave", "Leave", key_display="q"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("ctrl+q", "leave", show=False, priority=True),
    ]
    ENABLE_COMMAND_PALETTE = False
    TITLE = "toprung watch"

    def __init__(self, handle: AsyncSweepHandle, leaving: str) -> None:
        super().__init__()
        self.theme = "ansi-dark"  # the terminal's own colours
        self.reading = Reading(handle)
        self._leaving = leaving
        self._followed = not handle.record.state.finished
        self._look = asyncio.Event()
        self._layout: list[tuple[str, int]] = []
        self._cells: list[list[Text]] = []
        self._lost: str | None = None
        self.failure: ToprungError | None = None
        """What made it end by itself."""

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Trials(id="trials", cursor_type="row")
        yield Static(id="curves")
        yield Static(id="said")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._read_on()
        self.set_interval(EVERY_S, self._draw_head)

    @work(exclusive=True)
    async def _read_on(self) -> None:
        """Ask for what is new, again and again; more slowly where answers take long."""
        while True:
            began = time.monotonic()
            self._look.clear()
            try:
                await self.reading.refresh()
            except (NoService, Unavailable) as error:
                self._lost = f"{error.detail.splitlines()[0]} Trying again."
            except ToprungError as error:
                self._end(error)
                return
            else:
                self._lost = None
            self._draw()
            pause_s = max(EVERY_S, 4 * (time.monotonic() - began))
            try:
                async with asyncio.timeout(pause_s):
                    await self._look.wait()
            except TimeoutError:
                pass
            # who looks at one trial isn't thrown out
            if self._followed and self.reading.sweep.state.finished and len(self.screen_stack) == 1:
                self.exit(Ending.ENDED)
                return

    def _end(self, error: ToprungError) -> None:
        self.failure = error
        self.exit()

    # -- drawing ------------------------------------------------------------------------------------------------

    def on_resize(self, event: Resize) -> None:
        self.screen_stack[0].set_class(event.size.height < LOW, "low")
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        self._draw_head()
        self._draw_table()
        curves = self._first("#curves", Static)
        curves.update(chart(self.reading.curves, curves.content_size.width, curves.content_size.height))

    def _draw_head(self) -> None:
        reading, now = self.reading, datetime.now(UTC)
        width = max(1, self.size.width - 2)
        left_s = reading.pace.left_s(reading.sweep, now)
        self._first("#head", Static).update(head(reading.sweep, reading.rungs, left_s, width, now))
        self._first("#said", Static).update(self._said())

    def _said(self) -> Text:
        if self._lost:
            return Text(self._lost, "yellow")
        reading = self.reading
        if not reading.trials:
            return Text("waiting for the first trial …" if not reading.sweep.state.finished else "no trials", "dim")
        shown = f"{len(reading.trials):,} of {reading.num_trials:,} trials, {reading.order}"
        return Text(f"{shown}   {self._leaving}", "dim")

    def _draw_table(self) -> None:
        table, reading = self._first("#trials", Trials), self.reading
        found = columns(reading.sweep, reading.trials, reading.histories, self.size.width - 1)
        chosen = self._number_at(table.cursor_row)
        layout = [(made.title, made.width) for made in found]
        cells = _rows(found)
        if layout != self._layout or len(cells) < len(self._cells):
            scrolled = table.scroll_offset.y
            table.clear(columns=True)
            for made in found:
                label = Text(made.title, justify="right" if made.right else "left")
                table.add_column(label, width=made.width - GAP)
            table.add_rows(cells)
            table.scroll_to(y=scrolled, animate=False)
        else:
            for row, (before, after) in enumerate(zip(self._cells, cells, strict=False)):
                for column, (old, new) in enumerate(zip(before, after, strict=True)):
                    if old != new:
                        table.update_cell_at(Coordinate(row, column), new)
            table.add_rows(cells[len(self._cells) :])
        self._layout, self._cells = layout, cells
        place = self._row_of(chosen)
        if place is not None and place != table.cursor_row:
            table.move_cursor(row=place, animate=False)

    def _number_at(self, row: int) -> int | None:
        return int(self._cells[row][0].plain) if 0 < row < len(self._cells) else None  # the first stays the first

    def _row_of(self, number: int | None) -> int | None:
        return next((i for i, row in enumerate(self._cells) if row[0].plain == str(number)), None)

    def _first(self, selector: str, kind: type[W]) -> W:
        return self.screen_stack[0].query_one(selector, kind)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a trial is shown its keys alone count."""
        return len(self.screen_stack) == 1 or action not in ("sort", "pause", "cancel", "leave")

    # -- keys ---------------------------------------------------------------------------------------------------

    def on_data_table_row_highlighted(self) -> None:
        """Read the next page before the cursor has come to the end of this one."""
        reading = self.reading
        near = self._first("#trials", Trials).cursor_row > len(reading.trials) - PAGE // 3
        if near and len(reading.trials) == reading.wanted < reading.num_trials:
            reading.wanted += PAGE
            self._look.set()

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        row = self._first("#trials", Trials).cursor_row
        if row < len(self.reading.trials):
            self.push_screen(TrialScreen(self.reading.handle, self.reading.trials[row]))

    def action_sort(self) -> None:
        self.reading.order, self.reading.wanted = self.reading.order.next, PAGE
        self._first("#trials", Trials).move_cursor(row=0, animate=False)
        self._look.set()

    @work
    async def action_pause(self) -> None:
        handle, sweep = self.reading.handle, self.reading.sweep
        paused = sweep.state == "paused"
        await self._ask(handle.resume if paused else handle.pause, "goes on" if paused else "is pausing")

    @work
    async def action_cancel(self) -> None:
        name = self.reading.sweep.name
        if await self.push_screen_wait(Confirm(f"Cancel {name}? Its trials are stopped; results are kept.")):
            await self._ask(self.reading.handle.cancel, "is being cancelled")

    async def _ask(self, action: Callable[[], Awaitable[Sweep]], done: str) -> None:
        try:
            await action()
        except ToprungError as error:
            self.notify(error.detail, severity="error")
        else:
            self.notify(f"{self.reading.sweep.name} {done}.")
            self._look.set()

    def action_leave(self) -> None:
        self.exit(Ending.LEFT)

    def action_interrupt(self) -> None:
        self.exit(Ending.INTERRUPTED)


def _rows(found: list[Column]) -> list[list[Text]]:
    made = []
    for cells in zip(*(column.cells for column in found), strict=True):
        row = []
        for column, cell in zip(found, cells, strict=True):
            cell.justify = "right" if column.right else "left"
            row.append(cell)
        made.append(row)
    return made
