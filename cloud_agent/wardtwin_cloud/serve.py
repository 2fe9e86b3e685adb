"""Run the agent: granian embedded in this process, so that there is one process to stop, and none is left after SIGKILL."""

import asyncio
import signal
import socket

from granian.constants import Interfaces
from granian.server.embed import Server

from wardtwin_cloud.agent import Agent
from wardtwin_cloud.app import create_app
from wardtwin_cloud.clock import Clock
from wardtwin_cloud.config import CloudConfig
from wardtwin_cloud.errors import ConfigError
from wardtwin_cloud.store import open_store


def serve(config: CloudConfig, clock: Clock) -> None:
    """Serve until SIGTERM or SIGINT. Streams are ended first, queued batches committed, then the store is closed."""
    asyncio.run(_serve(config, clock))


async def _serve(config: CloudConfig, clock: Clock) -> None:
    _check_port(config)
    agents: list[Agent] = []
    app = create_app(lambda: Agent(config, clock, open_store(config.database)), agents.append)
    server = Server(app, address=config.host, port=config.port, interface=Interfaces.ASGI, websockets=False, log_enabled=False)

    def stop() -> None:
        for agent in agents:
            agent.hub.close()
        server.stop()  # type: ignore[no-untyped-call]

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve()


def _check_port(config: CloudConfig) -> None:
    """granian reports a taken port only in its log; say it plainly before."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            raise ConfigError(f"cannot listen on {config.host}:{config.port}: {error.strerror or error}") from error
