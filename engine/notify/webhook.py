"""Post one message to a Slack-compatible webhook, within a few seconds or not at all."""

from __future__ import annotations

import logging
import threading
from urllib.parse import urlsplit

log = logging.getLogger(__name__)
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0
WHOLE_SECONDS = 5.5
"""A name that is looked up, a server that answers byte by byte: none of it holds a run longer than this."""
REFUSED = 300


class NotSentError(Exception):
    """The message did not arrive; the message of this error never shows the address's path, which is a secret."""


def post(url: str, text: str) -> str:
    """Post; return '', or why it is not known to have arrived. Raises NotSentError where it surely did not.

    No answer in time counts as arrived, so that nobody is told twice.
    """
    failed: list[str] = []
    answered: list[int] = []
    done = threading.Thread(target=_post, args=(url, text, failed, answered), name="notify", daemon=True)
    done.start()
    done.join(WHOLE_SECONDS)
    if failed:
        raise NotSentError(failed[0])
    return "" if answered else f"{urlsplit(url).hostname} does not answer in time; the message may have arrived"


def _post(url: str, text: str, failed: list[str], answered: list[int]) -> None:
    import requests

    host = urlsplit(url).hostname
    try:
        answer = requests.post(
            url, json={"text": text}, timeout=(CONNECT_SECONDS, ANSWER_SECONDS), allow_redirects=False
        )
    except requests.ReadTimeout:
        log.info("%s has not answered in time; the message may have arrived", host)
    except Exception as error:
        failed.append(f"{host} cannot be reached ({type(error).__name__})")
    else:
        answered.append(answer.status_code)
        if answer.status_code >= REFUSED:
            failed.append(f"{host} answered {answer.status_code}")
