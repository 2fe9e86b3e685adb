"""The door by which a tag is made known: its binding and its device, never its key. `wardtwin tag provision` comes here."""

import logging
import re
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wardtwin_cloud.answers import answer, later
from wardtwin_cloud.body import announced, read_json_body
from wardtwin_cloud.errors import RefusedError, RegistryError, StoreError
from wardtwin_cloud.register import bind_tag, check_registry
from wardtwin_cloud.tokens import bearer, owner_of
from wardtwin_sync.registry import SCHEMA, Device, Registry, TagBinding

if TYPE_CHECKING:
    from wardtwin_cloud.agent import Agent

log = logging.getLogger("wardtwin.cloud")

MAX_BYTES = 64 * 1024
_TAG_ID = re.compile(r"[0-9a-f]{12}")
_BLE_ADDRESS = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}")
_WORDS = 200


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is posted. `device`: the device the tag sits on, made or changed; null leaves a known one as it is."""

    schema: int
    binding: TagBinding
    device: Device | None = None


async def post_tag(request: Request) -> Response:
    """201 added, 200 changed or unchanged; shown in the twin before the answer goes out."""
    agent: Agent = request.app.state.agent
    registrar = await _registrar(request, agent)
    announced(request.headers, MAX_BYTES)
    wanted = decode(await read_json_body(request, MAX_BYTES, agent.config.body_timeout_s))
    outcome: list[str] = []

    def change(registry: Registry | None) -> Registry:
        if registry is None:
            raise RefusedError(409, "registry", "there is no hospital yet; import one: wardtwin-cloud registry import")
        known = {tag.tag_id: tag for tag in registry.tags}
        changed = bind_tag(registry, wanted.binding, wanted.device)
        check_registry(changed)
        outcome[:] = ["added" if wanted.binding.tag_id not in known else "unchanged" if changed == registry else "changed"]
        return changed

    try:
        revision = await agent.read(agent.store.change_registry, change, agent.clock.now())
    except RegistryError as error:
        raise RefusedError(400, "registry", str(error)) from error
    except StoreError as error:
        return later(503, "store", str(error), 5.0)
    if outcome[0] != "unchanged":
        log.info("tag %s %s by %s", wanted.binding.tag_id, outcome[0], registrar)
    await agent.refresh()
    shown = {"tag_id": wanted.binding.tag_id, "status": outcome[0], "revision": revision}
    return answer(shown, 201 if outcome[0] == "added" else 200)


async def _registrar(request: Request, agent: "Agent") -> str:
    """Whose token it is, as of now: a revoked one ends at once. Raise RefusedError: 401, 403 for a gateway's."""
    token = bearer(request.headers.get("authorization", ""))
    owner = owner_of(token, {row["name"]: row["fingerprint"] for row in await agent.read(agent.store.tokens)})
    if owner is not None:
        return owner
    if owner_of(token, agent.fingerprints) is not None:
        raise RefusedError(403, "token", "a gateway's token registers no tags; make one that does with: wardtwin-cloud token add NAME")
    raise RefusedError(401, "token", "no valid token to register tags; make one with: wardtwin-cloud token add NAME")


def decode(raw: bytes) -> Registration:
    """Raise RefusedError (400), naming the field at fault. A key, or anything else not asked for, is such a field."""
    try:
        wanted = msgspec.json.decode(raw, type=Registration)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise RefusedError(400, "content", str(error)) from error
    faults = _faults(wanted.schema, wanted.binding, wanted.device)
    if faults:
        raise RefusedError(400, "content", "; ".join(faults))
    return wanted


def _faults(schema: int, binding: TagBinding, device: Device | None) -> list[str]:
    faults = []
    if schema != SCHEMA:
        faults.append(f"schema {schema}, this version speaks {SCHEMA}")
    if not _TAG_ID.fullmatch(binding.tag_id):
        faults.append("binding.tag_id is not 12 lower-case hex digits")
    if binding.ble_address is not None and not _BLE_ADDRESS.fullmatch(binding.ble_address):
        faults.append("binding.ble_address is not AA:BB:CC:DD:EE:FF in upper case")
    if binding.kind == "energy" and binding.device_id is None:
        faults.append("binding.device_id: an energy tag sits on a device")
    if binding.kind == "environment" and (binding.room_id is None or binding.device_id is not None):
        faults.append("binding.room_id: an environment tag sits in a room, and on no device")
    if device is not None:
        if device.device_id != binding.device_id:
            faults.append("device.device_id is not binding.device_id")
        for name, text in (("name", device.name), ("device_type", device.device_type)):
            if not 1 <= len(text.strip()) <= _WORDS:
                faults.append(f"device.{name} has 1 to {_WORDS} characters")
    if max(len(binding.ward), len(device.ward) if device else 0) > _WORDS:
        faults.append(f"ward has at most {_WORDS} characters")
    return faults
