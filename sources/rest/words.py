"""The smaller words of a REST block: durations, authentication, paging, errors, weights, cursors."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
DURATION = re.compile(r"(\d{1,6})([smhdw])\Z")


WORDS = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
"""A block of words: unknown keys are errors, values are frozen, secrets stay out of errors."""


def duration(text: str) -> timedelta:
    """Read 30s, 15m, 12h, 7d or 4w. Raises ValueError."""
    found = DURATION.match(text)
    if not found or not int(found[1]):
        raise ValueError(f"{text[:40]!r} is no duration\nWrite a number and a unit: 30s, 15m, 12h, 7d or 4w.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _duration_text(text: str) -> str:
    duration(text)
    return text


DurationText = Annotated[str, AfterValidator(_duration_text)]
"""A duration as the file writes it: 30s, 15m, 12h, 7d, 4w."""


def _header_value(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.isascii() or not (text.isprintable() or not text):
        raise ValueError("the key has characters that no HTTP header may hold\nCopy it again, without line breaks.")
    return secret


HeaderSecret = Annotated[SecretStr, AfterValidator(_header_value)]


class ApiKey(BaseModel):
    """A key in a header or in the query. An empty key is not sent."""

    model_config = WORDS

    type: Literal["api_key"]
    key: HeaderSecret
    header: str | None = None
    query: str | None = None

    @model_validator(mode="after")
    def one_place(self) -> Self:
        """A key goes to one place."""
        if bool(self.header) == bool(self.query):
            raise ValueError("an api_key goes into a header or into the query\nSet `header:` or `query:`, one of them.")
        return self

    def headers(self) -> dict[str, str]:
        """What joins the headers."""
        key = self.key.get_secret_value()
        return {self.header: key} if self.header and key else {}

    def params(self) -> dict[str, str]:
        """What joins the query."""
        key = self.key.get_secret_value()
        return {self.query: key} if self.query and key else {}

    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        return (self.key.get_secret_value(),)


class Bearer(BaseModel):
    """`Authorization: Bearer ...`. An empty token is not sent."""

    model_config = WORDS

    type: Literal["bearer"]
    token: HeaderSecret

    def headers(self) -> dict[str, str]:
        """What joins the headers."""
        token = self.token.get_secret_value()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def params(self) -> dict[str, str]:
        """Nothing joins the query."""
        return {}

    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        return (self.token.get_secret_value(),)


class Basic(BaseModel):
    """`Authorization: Basic ...`."""

    model_config = WORDS

    type: Literal["basic"]
    username: str
    password: SecretStr

    def headers(self) -> dict[str, str]:
        """What joins the headers."""
        pair = f"{self.username}:{self.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}

    def params(self) -> dict[str, str]:
        """Nothing joins the query."""
        return {}

    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        return (self.password.get_secret_value(), self.headers()["Authorization"].split()[1])


Auth = Annotated[ApiKey | Bearer | Basic, Field(discriminator="type")]


class PageNumber(BaseModel):
    """?page=1, 2, 3 ... until a page is empty, or `total` (path to the number of pages) is reached."""

    model_config = WORDS

    type: Literal["page_number"]
    param: str = "page"
    first: int = 1
    total: str | None = None


class Offset(BaseModel):
    """?offset=0, limit, 2*limit ... until a page is empty, or `total` (path to the number of rows) is reached."""

    model_config = WORDS

    type: Literal["offset"]
    limit: int = Field(ge=1)
    param: str = "offset"
    limit_param: str = "limit"
    total: str | None = None


class Cursor(BaseModel):
    """The answer names a token at `next`, which the next request sends as `param`."""

    model_config = WORDS

    type: Literal["cursor"]
    next: str
    param: str


class NextLink(BaseModel):
    """The answer names the next page's address: at the path `next`, or in its Link header."""

    model_config = WORDS

    type: Literal["next_link"]
    next: str | None = None


Paginate = Annotated[PageNumber | Offset | Cursor | NextLink, Field(discriminator="type")]


class When(BaseModel):
    """An answer to recognise: its status, fields of its body (path: value), or both."""

    model_config = WORDS

    http: int | None = None
    body: dict[str, str | int | bool | None] = {}

    @model_validator(mode="after")
    def says_something(self) -> Self:
        """An empty condition would take every answer for an error."""
        if self.http is None and not self.body:
            raise ValueError("this condition is empty\nSet `http:` (a status), `body:` (path: value), or both.")
        return self


class ErrorRule(BaseModel):
    """What an answer means that is no data.

    `split`: one asset of the batch is at fault; it is found by halving, the rest is delivered. `skip`: this request
    has nothing to give. `terminal`: asking again cannot help. `fail`: it may.
    """

    model_config = WORDS

    when: When
    action: Literal["split", "skip", "terminal", "fail"]
    message: str
    remedy: str = ""


class WeightSteps(BaseModel):
    """What a call costs by its number of assets: {up_to: {20: 2, 100: 40}, above: 80}."""

    model_config = WORDS

    up_to: dict[int, int]
    above: int


class Incremental(BaseModel):
    """Ask only for what is new: {cursor} stands for the newest value that was read, for each asset and variant.

    `initial` is where the first run starts: a duration before now, a value, or one of these for each variant.
    Rows up to `lag` older than the cursor are asked for again; what was delivered before is not delivered twice.
    A page of `full_page` rows means that more follow: the next request starts at its last cursor.
    """

    model_config = WORDS

    column: str
    initial: str | int | dict[str, str] | None = None
    lag: DurationText | None = None
    full_page: int | None = Field(default=None, ge=2)

    def start(self, variant: str) -> Any:
        """Return where the first run of a variant starts."""
        return self.initial.get(variant) if isinstance(self.initial, dict) else self.initial
