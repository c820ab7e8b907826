"""The HTTP client of push delivery; imported with the first push subscription: aiohttp is heavy."""

import logging
from typing import Any

import aiohttp

from emulator.pubsub.push_request import ACKED_STATUSES

log = logging.getLogger(__name__)


class _Processing(aiohttp.ClientError):
    """The endpoint answered 102."""


class _Response(aiohttp.ClientResponse):
    """Takes 102 for the answer; aiohttp waits for another one after any 1xx."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        read = protocol.read

        async def read_answer() -> Any:
            answer = await read()
            if answer[0].code == 102:
                raise _Processing
            return answer

        protocol.read = read_answer
        try:
            return await super().start(connection)
        finally:
            del protocol.read


class HttpClient:
    """Posts to push endpoints; connections are kept and used again."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            response_class=_Response,
        )

    async def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout_seconds: float
    ) -> bool:
        """Whether the endpoint acked in time."""
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                await response.read()
        except _Processing:
            return True
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.info("push to %s failed: %s", url, error or type(error).__name__)
            return False
        if response.status not in ACKED_STATUSES:
            log.info("push to %s answered %d", url, response.status)
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
