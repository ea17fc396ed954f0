"""The web server alone, for tests that need no queue and no worker, and that kill and restart it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx

from config import PROJECT_ROOT
from tests.e2e.running import Running, plain_environment
from tests.product.machine import wait_for
from tests.servers.guarded import find_free_port


class WebServer:
    """On data of its own. What was uploaded waits, for nobody works."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """``settings`` are environment variables beside its own."""
        self.folder, self.port = folder, find_free_port()
        self._settings = settings
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        values = {"DATA_DIR": str(self.folder / "data"), "PORT": str(self.port), "SIGNUP": "open"}
        environ = plain_environment() | values | self._settings
        with (self.folder / "web.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "streamlit", "run", str(PROJECT_ROOT / "app.py")),
                    *(f"--server.port={self.port}", "--server.address=127.0.0.1", "--server.headless=true"),
                ],
                cwd=PROJECT_ROOT,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running = Running(
            process=process,
            port=self.port,
            data_dir=self.folder / "data",
            temporary=self.folder,
            log=self.folder / "web.log",
            environ=environ,
        )
        wait_for(self._answers, label="the web server", explain=self.running.read_log)

    def kill(self) -> None:
        """End it as a crash does."""
        self.running.process.send_signal(signal.SIGKILL)
        self.running.process.wait()

    def _answers(self) -> bool:
        assert self.running.process.poll() is None, self.running.read_log()
        try:
            return httpx.get(f"{self.running.url}/api/health", timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False
