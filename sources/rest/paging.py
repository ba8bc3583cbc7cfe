"""dlt's paginators, by the words of `paginate:`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sources.rest.words import Cursor, NextLink, Offset, PageNumber

if TYPE_CHECKING:
    from dlt.sources.helpers.rest_client.paginators import BasePaginator


def paginator_of(words: PageNumber | Offset | Cursor | NextLink | None) -> BasePaginator:
    """Build a fresh paginator for one walk."""
    from dlt.sources.helpers.rest_client import paginators

    if words is None:
        return paginators.SinglePagePaginator()
    if isinstance(words, PageNumber):
        return paginators.PageNumberPaginator(base_page=words.first, page_param=words.param, total_path=words.total)
    if isinstance(words, Offset):
        return paginators.OffsetPaginator(
            limit=words.limit, offset_param=words.param, limit_param=words.limit_param, total_path=words.total
        )
    if isinstance(words, Cursor):
        return paginators.JSONResponseCursorPaginator(cursor_path=words.next, cursor_param=words.param)
    if words.next:
        return paginators.JSONLinkPaginator(next_url_path=words.next)
    return paginators.HeaderLinkPaginator()
