"""The service's settings: `<home>/config.yaml`, read when it starts."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from toprung.errors import InvalidInput, Problem
from toprung.tuning.orders import price
from toprung.tuning.spec.reading import read
from toprung.tuning.storage import checked

Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=100)]
EVERYBODY = "default"
"""The quota of owners without one of their own."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quota(_Model):
    """What the sweeps of one owner may have at once, together."""

    trials: int | None = Field(default=None, ge=1)
    """Running trials."""
    gpus: Positive | None = None


class WebhookSettings(_Model):
    """Where webhooks may go, and what they say."""

    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that are not public, to which they may go all the same; over plain HTTP too."""
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+[^\s]*$")] | None = None
    """The service's address as those who are told can reach it. None: the one that it listens at."""


class Settings(_Model):
    """What those who run a service decide for those who use it."""

    prices: dict[Text, Positive] = Field(default_factory=dict)
    """Of a GPU-hour, by Ray's name of the accelerator type (A100); `any` for all others."""
    currency: Text = "USD"
    quotas: dict[Text, Quota] = Field(default_factory=dict)
    """By owner; `default` for all others."""
    storage: Annotated[str, AfterValidator(checked)] | None = None
    """Where checkpoints go: a folder that all machines share, or one in a bucket. None: `runs/` in the home."""

    webhooks: WebhookSettings = WebhookSettings()

    @classmethod
    def read(cls, path: Path) -> Settings:
        """The settings in a YAML file; the defaults where there is none.

        Raises:
            InvalidInput: lists all that is wrong with it.
        """
        try:
            data = read(path.read_text(encoding="utf-8")).data
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path} can't be read: {error}") from error
        except InvalidInput as error:
            raise InvalidInput(f"{path}: {error.detail.replace('the spec', 'it')}", problems=error.problems) from error
        try:
            return cls.model_validate({} if data is None else data)
        except ValidationError as error:
            problems = [
                Problem(
                    "".join(f"/{part}" for part in details["loc"]),
                    details["type"],
                    details["msg"].removeprefix("Value error, "),
                )
                for details in error.errors()
            ]
            told = "; ".join(f"{problem.pointer or '/'}: {problem.message}" for problem in problems)
            raise InvalidInput(f"{path} is wrong: {told}", problems=problems) from None

    def price(self, accelerator_type: str | None) -> float | None:
        """Of a GPU-hour; None where nothing says."""
        return price(self.prices, accelerator_type)

    def quota(self, owner: str | None) -> Quota:
        """Of an owner; of nobody, where access control is off, none."""
        found: Any = None if owner is None else self.quotas.get(owner, self.quotas.get(EVERYBODY))
        return found or Quota()
