"""The amqtt broker in its own process: `python -m wardtwin_board.amqtt_process CONFIG.json` (written by `broker.AmqttBroker`)."""

import asyncio
import hmac
import json
import logging
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session


class Passwords(BaseAuthPlugin):  # type: ignore[misc]  # amqtt is untyped here
    """Names and passwords, as given."""

    @dataclass
    class Config:
        passwords: dict[str, str] = field(default_factory=dict)

    async def authenticate(self, *, session: Session) -> bool:
        expected = self.config.passwords.get(session.username or "")
        return expected is not None and hmac.compare_digest(expected.encode(), (session.password or "").encode())


class Topics(BaseTopicPlugin):  # type: ignore[misc]
    """Users may do everything; a tag writes its own `up` and reads its own `down`."""

    @dataclass
    class Config:
        users: list[str] = field(default_factory=list)

    async def topic_filtering(self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None) -> bool:
        if session is None or topic is None:
            return False
        if session.username in self.config.users:
            return True
        return topic == f"wardtwin/1/{session.username}/{'up' if action == Action.PUBLISH else 'down'}"


def configuration(settings: dict[str, object]) -> dict[str, object]:
    users, tags = settings["users"], settings["tags"]
    assert isinstance(users, dict)
    assert isinstance(tags, dict)
    return {
        "listeners": {
            "default": {
                "type": "tcp",
                "bind": f"{settings['host']}:{settings['port']}",
                "ssl": True,
                "certfile": settings["certificate"],
                "keyfile": settings["key"],
            }
        },
        "plugins": {
            "wardtwin_board.amqtt_process.Passwords": {"passwords": users | tags},
            "wardtwin_board.amqtt_process.Topics": {"users": list(users)},
        },
    }


async def run(settings: dict[str, object]) -> None:
    broker = Broker(configuration(settings))
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await broker.start()
    await stopped.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(run(json.loads(Path(sys.argv[1]).read_text())))
