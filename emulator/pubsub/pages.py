"""Lists in pages: a token is the last name seen, so it stays right while others come and go."""

import base64
import binascii
from collections.abc import Sequence

from emulator.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


def page(items: Sequence[str], page_size: int, page_token: str) -> tuple[Sequence[str], str]:
    """A page of the sorted `items` and the token of the next one, "" after the last.

    Raises:
        InvalidArgument: page_size below 0, or a page_token that was never given.
    """
    if page_size < 0:
        raise InvalidArgument(f"page_size: {page_size} is negative")
    if page_token:
        try:
            last = base64.b64decode(page_token.encode(), altchars=b"-_", validate=True).decode()
        except (binascii.Error, UnicodeError):
            raise InvalidArgument(f"page_token: {page_token!r} is not a token given here") from None
        items = [item for item in items if item > last]
    size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    shown = items[:size]
    if len(items) <= size:
        return shown, ""
    return shown, base64.urlsafe_b64encode(shown[-1].encode()).decode()
