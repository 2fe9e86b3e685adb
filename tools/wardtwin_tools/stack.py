"""Gateway and cloud as processes of their own, fed with one registry: what demo, replay and the benches stand on."""

import json
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from wardtwin_sync.registry import Registry, TagCard, encode
from wardtwin_tools.demo_ward import GATEWAY_ID
from wardtwin_tools.errors import ServiceError
from wardtwin_tools.service import Service, command_of, free_port


@dataclass(frozen=True)
class BrokerSettings:
    """How the gateway reaches the broker. `ca_file` None: no TLS."""

    host: str
    port: int
    username: str
    password: str
    ca_file: Path | None


class Stack:
    """Set up once with `prepare`, then `start`. Both services keep their data in `workdir` over kill and restart."""

    def __init__(
        self,
        workdir: Path,
        registry: Registry,
        cards: list[TagCard],
        broker: BrokerSettings | None,
        serial_ports: list[str] | None = None,
        ble: bool = False,
        env: Mapping[str, str] | None = None,
        cloud_port: int | None = None,
        gateway_room_id: str | None = None,
    ) -> None:
        self._workdir = workdir
        self._registry = registry
        self._cards = cards
        self._broker = broker
        self._serial_ports = serial_ports or []
        self._ble = ble
        self._room_id = gateway_room_id
        self._cloud_port = cloud_port or free_port()
        self._local_port = free_port()
        self.config_path = workdir / "gateway.toml"
        cloud_data = workdir / "cloud"
        cloud = [
            *command_of("wardtwin_cloud.cli"),
            "run",
            "--host",
            "127.0.0.1",
            "--port",
            str(self._cloud_port),
            "--data",
            str(cloud_data),
        ]
        gateway = [*command_of("wardtwin_edge.cli"), "run", "--config", str(self.config_path)]
        self.cloud = Service("cloud agent", cloud, workdir / "cloud.log", self.cloud_url + "/healthz", env)
        self.gateway = Service("gateway", gateway, workdir / "gateway.log", self.local_url + "/api/status", env)
        self._http = httpx.AsyncClient(timeout=30.0, trust_env=False)

    @property
    def cloud_url(self) -> str:
        return f"http://127.0.0.1:{self._cloud_port}"

    @property
    def local_url(self) -> str:
        return f"http://127.0.0.1:{self._local_port}"

    def prepare(self) -> None:
        """Write the configuration and put registry, gateway token and tag keys where they belong, by the users' commands."""
        cloud_data = self._workdir / "cloud"
        cloud_data.mkdir(parents=True, exist_ok=True)
        registry = self._workdir / "registry.json"
        registry.write_bytes(encode(self._registry))
        _run("wardtwin_cloud.cli", "registry", "import", "--data", str(cloud_data), str(registry))
        token = json.loads(_run("wardtwin_cloud.cli", "gateway", "add", "--data", str(cloud_data), "--json", GATEWAY_ID).splitlines()[-1])
        self.config_path.write_text(self._toml(token["token"]))
        self.config_path.chmod(0o600)
        _run("wardtwin_edge.cli", "registry", "import", "--config", str(self.config_path), str(registry))
        files = []
        for card in self._cards:
            path = self._workdir / f"card-{card.binding.tag_id}.json"
            path.touch(mode=0o600)
            path.write_bytes(encode(card))
            files.append(str(path))
        _run("wardtwin_edge.cli", "tag", "add", "--config", str(self.config_path), *files)

    def add_gateway_env(self, env: Mapping[str, str]) -> None:
        """What the gateway's process is told beside `env`: the way to an emulated radio that is known only once the air is up."""
        self.gateway.add_env(env)

    async def start(self) -> None:
        self.cloud.start()
        self.gateway.start()
        await self.cloud.wait_ready()
        await self.gateway.wait_ready()

    async def stop(self) -> None:
        self.gateway.stop()
        self.cloud.stop()
        await self._http.aclose()

    async def get_cloud(self, path: str, **params: Any) -> Any:
        response = await self._http.get(self.cloud_url + path, params=params)
        response.raise_for_status()
        return response.json()

    async def get_gateway(self, path: str = "/api/status") -> Any:
        response = await self._http.get(self.local_url + path)
        response.raise_for_status()
        return response.json()

    def _toml(self, token: str) -> str:
        sections: dict[str, dict[str, Any]] = {
            "gateway": {"id": GATEWAY_ID, "ward": "ward-3", "data_dir": str(self._workdir / "gateway")},
            "cloud": {"url": self.cloud_url, "token": token},
            "local": {"host": "127.0.0.1", "port": self._local_port},
            "serial": {"ports": self._serial_ports},
        }
        if self._room_id:
            sections["gateway"]["room_id"] = self._room_id
        if self._broker:
            sections["mqtt"] = {"host": self._broker.host, "port": self._broker.port, "username": self._broker.username,
                                "password": self._broker.password, "client_id": GATEWAY_ID}  # fmt: skip
            if self._broker.ca_file:
                sections["mqtt"]["ca_file"] = str(self._broker.ca_file)
        if self._ble:
            sections["ble"] = {"backend": "wardtwin_board.bleak_backend:BumbleScanner"}
        # JSON's strings, numbers and lists are TOML's too
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()) for name, keys in sections.items()
        )


def card_of(registry: Registry, tag_id: str) -> TagCard:
    """A card with a new random key for a tag of the registry."""
    binding = next(tag for tag in registry.tags if tag.tag_id == tag_id)
    device = next((device for device in registry.devices if device.device_id == binding.device_id), None)
    return TagCard(schema=registry.schema, binding=binding, key_hex=secrets.token_hex(16), device=device)


def _run(script: str, *arguments: str) -> str:
    done = subprocess.run([*command_of(script), *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ServiceError(f"{script} {' '.join(arguments)} failed:\n{done.stderr}{done.stdout}")
    return done.stdout
