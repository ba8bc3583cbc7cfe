"""Avro schemas by their ids, from a registry with Confluent's REST paths; each is asked for once a run.

A registry that does not know an id says so with 404, which is the message's fault; one that is down, or refuses us, is
an error of the whole topic: its messages are good, and the next run reads them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import requests

from engine.errors import SourceError
from sources.http.client import CLIENT_ERROR, HttpClient, refusal
from sources.http.policy import MIB, Credentials, Policy

if TYPE_CHECKING:
    from sources.kafka.settings import KafkaSource, SchemaRegistry
    from sources.protocol import SourceContext

MAX_BODY = 4 * MIB
MAX_REFERENCES = 100
TRIES = 3
UNKNOWN = 404
REFUSED = {401, 403}
AVRO = "AVRO"
DOWN = (
    "Start the registry, or correct schema_registry.url. Nothing is lost: the next run reads on from the same offsets."
)


class UnusableSchemaError(Exception):
    """An id that names no Avro schema; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema's JSON text, and those of the schemas whose names it uses, in the order to read them."""

    text: str
    references: tuple[str, ...] = ()


class Registry:
    """Asks the registry; the password is sent to its host alone. Raises SourceError, UnusableSchemaError."""

    def __init__(self, source: KafkaSource, ctx: SourceContext) -> None:
        """Take the registry that the source names."""
        settings = source.schema_registry
        if settings is None:
            raise ValueError("the source names no registry")
        seconds = source.timeout_seconds
        self._url = settings.url.rstrip("/")
        self._ctx = replace(ctx, replay_url=None)  # the market replay plays no registry
        self._policy = Policy(
            connect_timeout=seconds,
            read_timeout=seconds,
            deadline=seconds,
            budget=TRIES * seconds,
            tries=TRIES,
            backoff=min(0.5, seconds / TRIES),
            max_body=MAX_BODY,
            allow_private=True,
        )
        self._credentials = _credentials(settings)
        self._found: dict[int, Schema | str] = {}

    def schema(self, number: int) -> Schema:
        """Return the schema of this id."""
        if number not in self._found:
            try:
                self._found[number] = self._schema(number)
            except UnusableSchemaError as error:
                self._found[number] = str(error)
        found = self._found[number]
        if isinstance(found, str):
            raise UnusableSchemaError(found)
        return found

    def _schema(self, number: int) -> Schema:
        answer = self._ask(f"schemas/ids/{number}", f"schema {number}")
        kind = answer.get("schemaType", AVRO)
        if kind != AVRO:
            raise UnusableSchemaError(f"schema {number} is of type {str(kind)[:40]}, not {AVRO}")
        texts: dict[tuple[str, int], str] = {}
        self._follow(answer, texts, number)
        return Schema(answer["schema"], tuple(texts.values()))

    def _follow(self, answer: Mapping[str, Any], texts: dict[tuple[str, int], str], number: int) -> None:
        """Add the texts of what a schema refers to, each after those that it needs itself."""
        references = answer.get("references") or []
        if not isinstance(references, list):
            raise UnusableSchemaError(f"schema {number} has references that are no list")
        for reference in references:
            try:
                subject, version = str(reference["subject"]), int(reference["version"])
            except (TypeError, KeyError, ValueError):
                raise UnusableSchemaError(f"schema {number} has a reference without subject and version") from None
            if (subject, version) in texts:
                continue
            if len(texts) >= MAX_REFERENCES:
                raise UnusableSchemaError(f"schema {number} refers to more than {MAX_REFERENCES} others")
            texts[subject, version] = ""  # seen: two that refer to each other end here
            path = f"subjects/{quote(subject, safe='')}/versions/{version}"
            further = self._ask(path, f"{subject} version {version}, which schema {number} refers to,")
            self._follow(further, texts, number)
            del texts[subject, version]
            texts[subject, version] = further["schema"]

    def _ask(self, path: str, what: str) -> dict[str, Any]:
        try:
            with HttpClient(self._ctx, policy=self._policy, credentials=self._credentials) as client:
                response = client.send(requests.Request("GET", f"{self._url}/{path}"))
                if response.status_code in REFUSED:
                    raise self._refused(response.status_code)
                if response.status_code == UNKNOWN:
                    self._check_unknown(client, response)
                    raise UnusableSchemaError(f"{what} is not in the registry")
                if response.status_code >= CLIENT_ERROR:
                    raise refusal(client.session, response)
                answer = client.json(response)
        except SourceError as error:
            if error.terminal and error.remedy.startswith("Check schema_registry"):
                raise
            reason = error.reason.removeprefix(f"{self._ctx.source}: ")
            raise SourceError(self._ctx.source, f"schema registry: {reason}", DOWN) from error
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise SourceError(self._ctx.source, f"schema registry: {self._place} answered with no schema", DOWN)
        return answer

    def _check_unknown(self, client: HttpClient, response: requests.Response) -> None:
        """A 404 counts as the registry's word when it has its form: a page of another server says nothing of ids."""
        said = client.json(response)
        if not isinstance(said, dict) or "error_code" not in said:
            reason = f"schema registry: {self._place} answered 404 as no registry does"
            raise SourceError(self._ctx.source, reason, DOWN)

    def _refused(self, status: int) -> SourceError:
        return SourceError(
            self._ctx.source,
            f"schema registry: {self._place} does not let us in ({status})",
            "Check schema_registry.username and password, and the environment variables they name.",
            terminal=True,
        )

    @property
    def _place(self) -> str:
        return urlsplit(self._url).netloc.rpartition("@")[2]


def _credentials(settings: SchemaRegistry) -> Credentials | None:
    if settings.username is None:
        return None
    password = settings.password or ""
    token = base64.b64encode(f"{settings.username}:{password}".encode()).decode()
    host = urlsplit(settings.url).netloc.lower()
    secrets = tuple(secret for secret in (password, token) if secret)
    return Credentials(host, headers={"Authorization": f"Basic {token}"}, secrets=secrets)
