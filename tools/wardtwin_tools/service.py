"""One process of the ward: started, watched until it answers, stopped or killed. What it says goes to a log file."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import httpx

from wardtwin_tools.errors import ServiceError


def command_of(script: str) -> list[str]:
    """The project's own command beside this interpreter, so that no PATH and no activated environment is needed."""
    return [sys.executable, "-c", f"from {script} import main; main()"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """`ready_url` answers 2xx once the service is up."""

    def __init__(self, name: str, command: Sequence[str], log: Path, ready_url: str, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.ready_url = ready_url
        self._command = list(command)
        self._log = log
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServiceError(f"{self.name} is not running")
        return self._process.pid

    def add_env(self, env: Mapping[str, str]) -> None:
        self._env.update(env)

    def start(self) -> None:
        self._output = self._log.open("ab")
        # an own session: Ctrl-C reaches us alone, and we end the others in order
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT, env=self._env, start_new_session=True
        )

    async def wait_ready(self, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while time.monotonic() < deadline:
                self.check()
                try:
                    if (await client.get(self.ready_url)).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        raise ServiceError(f"{self.name} did not answer at {self.ready_url} within {timeout_s:.0f} s.\n{self._tail()}")

    def check(self) -> None:
        """Raise ServiceError when the process has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise ServiceError(f"{self.name} ended with exit code {self._process.returncode}.\n{self._tail()}")

    def stop(self, timeout_s: float = 15.0) -> None:
        """Ask it to end; kill it if it does not."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """End it at once, as a pulled plug would."""
        self._end(signal.SIGKILL, 10.0)

    def _end(self, how: signal.Signals, timeout_s: float) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            # the group: granian has worker processes of its own
            os.killpg(self._process.pid, how)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def _tail(self, lines: int = 15) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return f"The end of {self._log}:\n" + "\n".join(text.splitlines()[-lines:])
