"""A question with yes and no, before what can't be undone."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static


class Confirm(ModalScreen[bool]):
    """Ends with whether the answer was yes."""

    CSS = """
    Confirm { align: center middle; background: transparent; }
    Confirm > Vertical { width: 64; max-width: 95%; height: auto; border: round $warning; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q,enter", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        yield Vertical(Static(self._question, markup=False), Static("y: yes   n: no", classes="keys"))

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)
