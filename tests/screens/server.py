"""The web server over a folder of data, without Valkey and workers: ``python -m tests.screens.server ROOT PORT``."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from config import PROJECT_ROOT

STARTS_WITHIN_S = 90


@contextmanager
def serve(root: Path, port: int, *, with_worker: bool = True) -> Iterator[str]:
    """Serve the product whose data lie under ``root``; yield the address. Ends the server it started."""
    command = [sys.executable, "-m", "tests.screens.server", str(root), str(port), *(["worker"] if with_worker else [])]
    log = (root / "server.log").open("ab")
    server = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=log, stderr=log)
    url = f"http://localhost:{port}"
    try:
        _wait(url, server, root / "server.log")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end:
        try:
            with urlopen(f"{url}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            if server.poll() is not None:
                break
        time.sleep(0.2)
    raise RuntimeError(f"the server did not start:\n{log.read_text('utf-8')[-3000:]}")


def main(root: Path, port: int, *, with_worker: bool) -> None:
    """Run until terminated."""
    import streamlit as st
    import uvicorn
    from starlette.middleware import Middleware

    import api
    from api.headers import SecurityHeaders
    from tests.product import make_product
    from tests.screens.data import report_worker
    from tests.screens.studio import LIMITS
    from ui import session
    from ui.head import DocumentHead

    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    product = make_product(root, limits=LIMITS)

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        session.install(product.services, base_url=f"http://localhost:{port}")
        yield None

    def beat() -> None:
        while True:
            report_worker(product)
            time.sleep(10)

    if with_worker:
        threading.Thread(target=beat, daemon=True).start()
    app = st.App(
        str(PROJECT_ROOT / "ui" / "router.py"),
        lifespan=lifespan,
        routes=api.make_routes(session.services),
        middleware=[Middleware(SecurityHeaders), Middleware(DocumentHead)],
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), with_worker="worker" in sys.argv[3:])
