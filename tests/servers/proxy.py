"""A wire to a server that can be cut: what goes through it is untouched until then."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

_BLOCK = 1 << 16


class CuttingProxy:
    """Passes connections on to a server; ``cuts`` of them are cut once so many bytes have come back or gone out."""

    def __init__(self, endpoint: str, *, cuts: int = 0, after_bytes: int = 0) -> None:
        target = urlsplit(endpoint)
        self._target = (target.hostname or "", target.port or 80)
        self._cuts, self._after_bytes = cuts, after_bytes
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.was_cut = 0
        """Connections that were cut."""
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Cut everything, for good."""
        # Shut down first: closing alone would leave the listening thread waiting.
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            with self._lock:
                self._sockets |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                sink.sendall(block)
                passed += len(block)
                if passed >= self._after_bytes and self._may_cut():
                    break
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
            with self._lock:
                self._sockets.discard(one)

    def _may_cut(self) -> bool:
        with self._lock:
            if self.was_cut >= self._cuts:
                return False
            self.was_cut += 1
            return True
