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

    type: Literal["api_key"] = Field(description="a key in a header or in the query")
    key: HeaderSecret = Field(description="the key; write ${NAME}, or ${NAME:-} where the API also answers without one")
    header: str | None = Field(default=None, description="name of the header that carries it")
    query: str | None = Field(default=None, description="name of the query parameter that carries it")

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

    type: Literal["bearer"] = Field(description="a token in the Authorization header")
    token: HeaderSecret = Field(description="the token; write ${NAME}")

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

    type: Literal["basic"] = Field(description="user and password in the Authorization header")
    username: str = Field(description="user name")
    password: SecretStr = Field(description="password; write ${NAME}")

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

    type: Literal["page_number"] = Field(description="pages are numbered")
    param: str = Field(default="page", description="query parameter that carries the page's number")
    first: int = Field(default=1, description="number of the first page")
    total: str | None = Field(
        default=None, description="path in the answer to the number of pages; without it: until empty"
    )


class Offset(BaseModel):
    """?offset=0, limit, 2*limit ... until a page is empty, or `total` (path to the number of rows) is reached."""

    model_config = WORDS

    type: Literal["offset"] = Field(description="pages start at a row number")
    limit: int = Field(ge=1, description="rows a page")
    param: str = Field(default="offset", description="query parameter that carries the first row's number")
    limit_param: str = Field(default="limit", description="query parameter that carries `limit`")
    total: str | None = Field(
        default=None, description="path in the answer to the number of rows; without it: until empty"
    )


class Cursor(BaseModel):
    """The answer names a token at `next`, which the next request sends as `param`."""

    model_config = WORDS

    type: Literal["cursor"] = Field(description="each answer names the token of the next page")
    next: str = Field(description="path in the answer to the next page's token; absent or null ends the walk")
    param: str = Field(description="query parameter that carries the token")


class NextLink(BaseModel):
    """The answer names the next page's address: at the path `next`, or in its Link header."""

    model_config = WORDS

    type: Literal["next_link"] = Field(description="each answer names the next page's address")
    next: str | None = Field(default=None, description="path in the answer to it; without it the Link header")


Paginate = Annotated[PageNumber | Offset | Cursor | NextLink, Field(discriminator="type")]


class When(BaseModel):
    """An answer to recognise: its status, fields of its body (path: value), or both."""

    model_config = WORDS

    http: int | None = Field(default=None, description="HTTP status; without it any")
    body: dict[str, str | int | bool | None] = Field(default={}, description="path in the answer: value it must have")

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

    when: When = Field(description="which answers this rule is about")
    action: Literal["split", "skip", "terminal", "fail"] = Field(description="what the answer means, see above")
    message: str = Field(description="what a person is told")
    remedy: str = Field(default="", description="what a person can do about it")


class WeightSteps(BaseModel):
    """What a call costs by its number of assets: {up_to: {20: 2, 100: 40}, above: 80}."""

    model_config = WORDS

    up_to: dict[int, int] = Field(description="number of assets: weight of a call about at most so many")
    above: int = Field(description="weight of a call about more assets than `up_to` names")


class Incremental(BaseModel):
    """Ask only for what is new: {cursor} stands for the newest value that was read, for each asset and variant.

    `initial` is where the first run starts: a duration before now, a value, or one of these for each variant.
    Rows up to `lag` older than the cursor are asked for again; what was delivered before is not delivered twice.
    A page of `full_page` rows means that more follow: the next request starts at its last cursor.
    """

    model_config = WORDS

    column: str = Field(description="column whose newest value is the cursor")
    initial: str | int | dict[str, str] | None = Field(
        default=None, description="where the first run starts: a duration before now, a value, or one a variant"
    )
    lag: DurationText | None = Field(default=None, description="how far behind the cursor rows are asked for again")
    full_page: int | None = Field(default=None, ge=2, description="rows of a full page: so many mean that more follow")

    def start(self, variant: str) -> Any:
        """Return where the first run of a variant starts."""
        return self.initial.get(variant) if isinstance(self.initial, dict) else self.initial
