"""Connections that keep somebody waiting: headers that never end, answers that nobody takes. uvicorn itself waits for ever."""

from __future__ import annotations

from asyncio import Transport

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0  # for the headers of a request, and for any of an answer to be taken
MOST = 512  # connections; then the one that has been waiting the longest without a request goes


class Door(H11Protocol):
    """A connection that is looked at every `SECONDS`, and aborted when for so long it made no whole request, or took nothing of its answer."""

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        self.since, self._left = self.loop.time(), 0
        self._timer = self.loop.call_later(SECONDS, self._look)
        if len(self.connections) > MOST:
            waiting = [c for c in self.connections if isinstance(c, Door) and c.idle]
            min(waiting, key=lambda c: c.since, default=self).transport.abort()

    @property
    def idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.transport.get_protocol() is not self:
            return  # a socket by now, which has rules of its own
        left = self.transport.get_write_buffer_size()
        late = self.idle and self.loop.time() - self.since >= SECONDS
        if late or (left and left == self._left):
            self.transport.abort()
            return
        self._left = left
        self._timer = self.loop.call_later(SECONDS, self._look)
