"""What an article's page says about itself: the Open Graph and article metadata in its head."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TypeGuard
from urllib.parse import urlsplit

HEAD = 512 * 1024
"""Bytes of a page that are read: metadata stands at its beginning."""
TITLE, DESCRIPTION, ADDRESS = 1_000, 10_000, 2_000
"""Characters kept of each text."""
SNIFFED = 4096
CHARSET = re.compile(rb"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Article:
    """One article. Texts are plain text, whatever stands in them; `published_at` is null if the page has no date."""

    url: str
    title: str | None = None
    description: str | None = None
    image: str | None = None
    publisher: str | None = None
    published_at: datetime | None = None


class _Metadata(HTMLParser):
    """Collects <meta property|name=... content=...>, the first of each name."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta":
            given = dict(attrs)
            name, content = given.get("property") or given.get("name"), given.get("content")
            if name and content and content.strip():
                self.found.setdefault(name.lower(), content.strip())


def read_article(url: str, page: bytes, content_type: str = "") -> Article:
    """Read a page. A page without metadata gives an article without any."""
    metadata = _Metadata()
    metadata.feed(_text(page[:HEAD], content_type))
    found = metadata.found
    return Article(
        url=url,
        title=_cut(found.get("og:title"), TITLE),
        description=_cut(found.get("og:description") or found.get("description"), DESCRIPTION),
        image=_address(found.get("og:image")),
        publisher=_cut(found.get("og:site_name"), TITLE) or urlsplit(url).hostname,
        published_at=published(found.get("article:published_time")),
    )


def published(text: str | None) -> datetime | None:
    """Return the UTC instant of an ISO 8601 time with an offset; None if it is not one."""
    try:
        moment = datetime.fromisoformat(text or "")
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def is_address(url: object) -> TypeGuard[str]:
    """Whether this is a web address of a bearable length."""
    if not isinstance(url, str) or len(url) > ADDRESS:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def _address(text: str | None) -> str | None:
    return text if is_address(text) else None


def _cut(text: str | None, characters: int) -> str | None:
    return text[:characters] if text else None


def _text(page: bytes, content_type: str) -> str:
    named = CHARSET.search(content_type.encode("latin-1", "ignore")) or CHARSET.search(page[:SNIFFED])
    try:
        return page.decode(named.group(1).decode() if named else "utf-8", "replace")
    except LookupError:  # a charset that does not exist
        return page.decode("utf-8", "replace")
