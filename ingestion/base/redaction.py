"""Secrets stay out of texts: the session cookie, headers that may carry others, URLs' passwords.

An error page may repeat the request it answers, and an exception its arguments. What was sent as a
secret is looked for in a text before any of it is quoted, logged or stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"
_SECRET = re.compile(r"(?:[^\s;,=]+=)?([^\s;,]{8,})")
"""A header's words, without a cookie's name; a shorter word would be found in innocent texts."""
_SESSION = re.compile(r"(sessionid\w*=)[^\s;,&\"'<]+", re.IGNORECASE)
_USER = re.compile(r"(://)[^/\s@]+@")
_HARMLESS = {"accept", "accept-language", "connection", "content-type", "origin", "referer"}
_HARMLESS |= {"accept-encoding", "user-agent"}


class Redaction:
    """What to hide; it does not show what that is.

    Parameters
    ----------
    headers
        Names and values of headers; all but the well-known harmless ones count as secret.
    """

    def __init__(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        words = {
            word
            for name, value in headers
            if name.strip().lower() not in _HARMLESS
            for word in _SECRET.findall(value)
        }
        self._words = sorted(words, key=len, reverse=True)

    def hide(self, text: str) -> str:
        """Return the text with every secret replaced."""
        for word in self._words:
            text = text.replace(word, HIDDEN)
        text = _SESSION.sub(rf"\1{HIDDEN}", text)
        return _USER.sub(rf"\1{HIDDEN}@", text)


def session_header(session_id: str) -> tuple[str, str]:
    """Return the header that carries TradingView's session."""
    return "Cookie", f"sessionid={session_id}"
