"""What a parameter may be: a distribution, a group of parameters, or a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

Scalar = bool | int | float | str | None
"""What a categorical parameter chooses from."""

_MAX_EXACT_INT = 2**53


def problem(code: str, message: str, *, at: str = "", hint: str | None = None) -> PydanticCustomError:
    """A validation error with our own code; `at` is the field it is about, a path from the model."""
    # braces are pydantic's template syntax
    text = message.replace("{", "{{").replace("}", "}}")
    return PydanticCustomError(code, text, {"at": at, "hint": hint})


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _as_choices(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: choices if isinstance(choices, list | tuple) else (choices,) for name, choices in value.items()}


Conditions = Annotated[dict[str, tuple[Scalar, ...]], BeforeValidator(_as_choices)]


class BaseDistribution(Model):
    when: Conditions = Field(default_factory=dict)
    """Conditions under which the parameter exists: name of another parameter -> value or list of values."""


class _Range(BaseDistribution):
    def _check(self, low: float, high: float, log: bool, step: float | None) -> None:
        if low >= high:
            raise problem("low_not_below_high", f"low ({low:g}) must be below high ({high:g})", at="low")
        if log and low <= 0:
            raise problem("log_needs_positive_low", f"with log: true, low ({low:g}) must be above 0", at="low")
        if log and step is not None and step != 1:
            raise problem("log_with_step", "log: true and step exclude each other; leave one out", at="step")
        if step is not None and step <= 0:
            raise problem("not_positive", f"step ({step:g}) must be above 0", at="step")
        if step is not None and step > high - low:
            raise problem("step_too_large", f"step ({step:g}) is larger than the range, {high - low:g}", at="step")


class FloatParameter(_Range):
    """A real number from `low` to `high`, both possible."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    """Uniform in the logarithm: for learning rates and the like."""
    step: float | None = None
    """Only low, low + step, low + 2 step …"""

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self._check(self.low, self.high, self.log, self.step)
        return self


class IntParameter(_Range):
    """A whole number from `low` to `high`, both possible."""

    type: Literal["int"]
    low: int = Field(ge=-_MAX_EXACT_INT, le=_MAX_EXACT_INT)
    high: int = Field(ge=-_MAX_EXACT_INT, le=_MAX_EXACT_INT)
    log: bool = False
    step: int | None = None

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self._check(self.low, self.high, self.log, self.step)
        return self


class CategoricalParameter(BaseDistribution):
    """One of `choices`, which have no order."""

    type: Literal["categorical"]
    choices: tuple[Scalar, ...]

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if not self.choices:
            raise problem("no_choices", "choices must not be empty", at="choices")
        seen: list[tuple[type, Scalar]] = []
        for choice in self.choices:
            # 1 and 1.0 and True are equal in Python, and would be one choice in Optuna
            if any(choice == other for _, other in seen):
                raise problem("duplicate_choice", f"choice {choice!r} is there twice", at="choices")
            seen.append((type(choice), choice))
        return self


Distribution = FloatParameter | IntParameter | CategoricalParameter

_TAGS = {"float": "<float>", "int": "<int>", "categorical": "<categorical>"}
# in angle brackets, so that a tag in an error's path can't be taken for a parameter's name


def _kind(value: Any) -> str:
    if isinstance(value, BaseDistribution):
        return _TAGS[value.type]  # type: ignore[attr-defined]
    if not isinstance(value, Mapping):
        return "<constant>"
    if "type" not in value:
        return "<group>"
    kind = value["type"]
    return _TAGS.get(kind, "<unknown>") if isinstance(kind, str) else "<unknown>"


if TYPE_CHECKING:
    ParameterNode = Any  # mypy can't resolve an alias of itself inside Annotated
else:
    ParameterNode = TypeAliasType(
        "ParameterNode",
        Annotated[
            Annotated[FloatParameter, Tag("<float>")]
            | Annotated[IntParameter, Tag("<int>")]
            | Annotated[CategoricalParameter, Tag("<categorical>")]
            | Annotated[dict[str, "ParameterNode"], Tag("<group>")]
            | Annotated[Any, Tag("<constant>")],
            Discriminator(_kind),
        ],
    )
"""An entry under `parameters`: a mapping with a `type` is a distribution, one without a group, the rest constants."""
