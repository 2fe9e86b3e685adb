"""`wardtwin tag provision` and `wardtwin tag flash`. With --json the last line on stdout is one JSON object; all else goes to stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from wardtwin_sync.registry import Device
from wardtwin_sync.states import Transport
from wardtwin_tools.output import emit
from wardtwin_tools.tag import flash as flashing
from wardtwin_tools.tag import identity, keys, registration, ward_file
from wardtwin_tools.tag import provision as provisioning
from wardtwin_tools.tag.bench_folder import CARD, PASSWORD_LINE
from wardtwin_tools.tag.errors import SettingsError, TagToolError
from wardtwin_tools.tag.esp_port import DEFAULT_BAUD, EspPort

tag_app = typer.Typer(no_args_is_help=True, help="Make a tag out of an ESP32: provision it, flash it.")

NOT_REGISTERED = 3
"""Exit code: the tag is made, but the gateway or cloud that was named does not know it yet."""


class Kind(StrEnum):
    ENERGY = "energy"
    ENVIRONMENT = "environment"


@tag_app.command()
def provision(
    kind: Annotated[Kind, typer.Option(help="energy: sits on a device. environment: sits in a room.")],
    port: Annotated[str, typer.Option(help="Serial port with the chip on it: its id is read from there.", metavar="PORT")] = "",
    tag_id: Annotated[str, typer.Option(help="The chip's MAC, 12 hex digits, where the chip is not at hand.", metavar="ID")] = "",
    ward_path: Annotated[Path | None, typer.Option("--ward-file", help="TOML with what the ward's tags share.", metavar="FILE")] = None,
    ward: Annotated[str, typer.Option(help="Over the ward file's.")] = "",
    transport: Annotated[Transport | None, typer.Option(help="Over the ward file's.")] = None,
    device_id: Annotated[str, typer.Option(help="Asset number of the device.", metavar="ID", rich_help_panel="Place")] = "",
    device_name: Annotated[str, typer.Option(metavar="NAME", rich_help_panel="Place")] = "",
    device_type: Annotated[str, typer.Option(help="e.g. infusion_pump.", metavar="NAME", rich_help_panel="Place")] = "",
    home_room: Annotated[str | None, typer.Option(help="Room id the device belongs to.", metavar="ID", rich_help_panel="Place")] = None,
    room: Annotated[str | None, typer.Option(help="Room id of an environment tag.", metavar="ID", rich_help_panel="Place")] = None,
    sensor: Annotated[
        list[str] | None, typer.Option(help="bme280, sgp40, pms5003, gas; repeat. Default: all.", rich_help_panel="Parts")
    ] = None,
    meter: Annotated[str, typer.Option(help="bl0942 or cse7766.", rich_help_panel="Parts")] = "",
    wifi_ssid: Annotated[str, typer.Option(metavar="NAME", rich_help_panel="Network")] = "",
    wifi_password_file: Annotated[
        Path | None, typer.Option(help="Asked for if neither this nor the ward file names one.", metavar="FILE", rich_help_panel="Network")
    ] = None,
    broker_host: Annotated[str, typer.Option(metavar="HOST", rich_help_panel="Network")] = "",
    broker_port: Annotated[int | None, typer.Option(min=1, max=65535, rich_help_panel="Network")] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="The broker's CA certificate, PEM or DER.", metavar="FILE", rich_help_panel="Network")
    ] = None,
    gateway: Annotated[str, typer.Option(help="The gateway's local address.", metavar="URL", rich_help_panel="Make it known")] = "",
    gateway_token_file: Annotated[
        Path | None, typer.Option(help="<data_dir>/admin.token of the gateway.", metavar="FILE", rich_help_panel="Make it known")
    ] = None,
    cloud: Annotated[str, typer.Option(metavar="URL", rich_help_panel="Make it known")] = "",
    cloud_token_file: Annotated[Path | None, typer.Option(metavar="FILE", rich_help_panel="Make it known")] = None,
    offline: Annotated[
        bool, typer.Option(help="Ask neither gateway nor cloud, whatever the ward file says.", rich_help_panel="Make it known")
    ] = False,
    allow_plain_http: Annotated[
        bool, typer.Option(help="Let key and token travel in clear, on a bench of its own.", rich_help_panel="Make it known")
    ] = False,
    out: Annotated[Path, typer.Option(help="A folder for each tag is made in here.", metavar="FOLDER")] = Path("tags"),
    new_key: Annotated[bool, typer.Option(help="A new key for a tag that has one. Flash it and add it to the gateway again.")] = False,
    show_bind_key: Annotated[bool, typer.Option(help="Print the BTHome bind key, for other BTHome receivers.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Make a tag: its key, card, settings and filesystem; and make it known to gateway and cloud.

    Made again, a tag keeps its key. Without a network it leaves the card and says how to import it.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    with _telling(console, as_json):
        shared = ward_file.read(ward_path) if ward_path else ward_file.WardFile()
        shared = replace(
            shared,
            ward=ward or shared.ward,
            wifi=replace(shared.wifi, ssid=wifi_ssid or shared.wifi.ssid, password_file=wifi_password_file or shared.wifi.password_file),
            broker=replace(
                shared.broker,
                host=broker_host or shared.broker.host,
                port=broker_port or shared.broker.port,
                ca_file=ca_file or shared.broker.ca_file,
            ),
            gateway=replace(shared.gateway, url=gateway or shared.gateway.url, token_file=gateway_token_file or shared.gateway.token_file),
            cloud=replace(shared.cloud, url=cloud or shared.cloud.url, token_file=cloud_token_file or shared.cloud.token_file),
            meter=shared.meter | ({"chip": meter} if meter else {}),
        )
        chosen = transport or (Transport(shared.transport) if shared.transport else None)
        if chosen is None:
            raise SettingsError("the tag needs a transport", "Give --transport ble, mqtt or serial, or `transport` in the ward file.")
        if bool(port) == bool(tag_id):
            raise SettingsError("the tag needs an id", "Give either --port, to read it from the chip, or --tag-id.")
        if any((device_id, device_name, device_type)) and not all((device_id, device_name, device_type)):
            raise SettingsError("a device has an id, a name and a type", "Give --device-id, --device-name and --device-type.")
        device = Device(device_id, device_name, device_type, ward=shared.ward, home_room_id=home_room) if device_id else None
        doors = {name: door for name, door in (("gateway", shared.gateway), ("cloud", shared.cloud)) if door.url and not offline}
        tokens = {name: _token(name, door) for name, door in doors.items()}
        password = _wifi_password(shared.wifi) if chosen is Transport.MQTT else ""
        order = provisioning.Order(
            tag_id=EspPort(port).identify().tag_id if port else identity.tag_id(tag_id),
            kind=kind.value,
            ward=shared,
            transport=chosen,
            device=device if kind is Kind.ENERGY else None,
            room_id=room if kind is Kind.ENVIRONMENT else None,
            sensors=tuple(sensor or ()),
            wifi_password=password,
            make_new_key=new_key,
        )
        made = provisioning.make(order, out, int(time.time()))
        outcomes = dict.fromkeys(("gateway", "cloud"), registration.NOT_ASKED)
        for name, door in doors.items():
            register = registration.with_gateway if name == "gateway" else registration.with_cloud
            outcomes[name] = register(door.url, tokens[name], made.card, allow_plain_http=allow_plain_http)
    card_file = made.folder.path / CARD
    missing = [outcome for outcome in outcomes.values() if outcome.status in ("unreachable", "refused")]
    steps = _next_steps(made, outcomes, port)
    bind_key = keys.bthome_bind_key(bytes.fromhex(made.card.key_hex)).hex() if show_bind_key else None
    _tell_made(console, made, outcomes, steps)
    if as_json:
        binding = made.card.binding
        emit(
            {
                "tag_id": binding.tag_id,
                "kind": binding.kind,
                "transport": binding.transport,
                "ward": binding.ward,
                "ble_address": binding.ble_address,
            }
            | {"card": str(card_file), "folder": str(made.folder.path), "key": "new" if made.new_key else "kept"}
            | {name: asdict(outcome) for name, outcome in outcomes.items()}
            | ({"bthome_bind_key": bind_key} if bind_key else {})
            | {"next": steps}
        )
    elif bind_key:
        typer.echo(f"BTHome bind key: {bind_key}")
    if missing:
        raise typer.Exit(NOT_REGISTERED)


@tag_app.command()
def flash(
    card: Annotated[Path, typer.Option(help="The card `provision` wrote; its folder has the rest.", metavar="CARD.json")],
    image: Annotated[Path, typer.Option(help="The vendor's MicroPython image for the ESP32 (ESP32_GENERIC-….bin).", metavar="FILE")],
    port: Annotated[str, typer.Option(help="Serial port with the chip on it.", metavar="PORT")] = "",
    baud: Annotated[int, typer.Option(min=9600, help="Lower it for a long or poor cable.")] = DEFAULT_BAUD,
    erase: Annotated[bool, typer.Option(help="Clear the chip first, unsent readings included. Its boot counter is put back.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check everything, say what would be written where, open no port.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Write a made tag onto its chip: MicroPython, partition table, firmware and settings; each verified on the chip.

    The card's key stays as it is, so a tag can be flashed again (a new firmware) without telling the gateway.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    with _telling(console, as_json):
        job = flashing.prepare(card, image, wipe=erase)
        console.print(_regions(job))
        console.print("The queue of unsent readings stays." if job.queue_kept else "The queue of unsent readings starts empty.")
        result: dict[str, Any] = {"tag_id": job.card.binding.tag_id, "dry_run": dry_run, "port": port or None, "firmware": job.firmware}
        result["queue"] = "kept" if job.queue_kept else "emptied"
        result["regions"] = [{"label": r.label, "offset": r.offset, "bytes": len(r.content), "sha256": r.sha256} for r in job.regions]
        if dry_run:
            console.print("Dry run: nothing was written.")
        else:
            if not port:
                raise SettingsError("which port is the chip on?", "Give --port, e.g. /dev/ttyUSB0; or --dry-run to write nothing.")
            esp_port = EspPort(port, baud=baud)
            chip, seconds = _write(console, job, esp_port, erase=erase)
            if esp_port.slowed:
                console.print("The fast transfer broke and went through slowly: a shorter cable, or no hub, would help.")
            result |= {"chip": chip.name, "flash_bytes": chip.flash_bytes, "seconds": round(seconds, 1), "verified": True}
            console.print(f"Flashed and verified {job.card.binding.tag_id} in {seconds:.1f} s.")
            console.print("It starts by itself; the gateway's page shows it within a minute.")
    if as_json:
        emit(result)


def _write(console: Console, job: flashing.Job, port: EspPort, *, erase: bool) -> tuple[Any, float]:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), DownloadColumn(binary_units=True))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {r.offset: bars.add_task(r.label, total=len(r.content)) for r in job.regions}

        def moved(offset: int, done: int) -> None:
            if offset in tasks:
                bars.update(tasks[offset], completed=done)

        return flashing.run(job, port, erase=erase, progress=moved)


def _regions(job: flashing.Job) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("offset", "bytes", "part", "what"):
        table.add_column(heading, justify="right" if heading in ("offset", "bytes") else "left")
    for region in job.regions:
        table.add_row(f"{region.offset:#x}", f"{len(region.content):,}", region.label, region.what)
    return table


def _token(name: str, door: ward_file.Door) -> str:
    if door.token_file is None:
        raise SettingsError(
            f"the {name} wants a token", f"Give --{name}-token-file, or token_file under [{name}] in the ward file; --offline asks nobody."
        )
    return ward_file.secret(door.token_file)


def _wifi_password(wifi: ward_file.Wifi) -> str:
    if wifi.password_file is not None:
        return ward_file.secret(wifi.password_file)
    if not sys.stdin.isatty():
        raise SettingsError("the Wi-Fi password is not known", "Give --wifi-password-file, or [wifi] password_file in the ward file.")
    return str(typer.prompt(f"Password of Wi-Fi {wifi.ssid}", hide_input=True, err=True))


def _next_steps(made: provisioning.Made, outcomes: dict[str, registration.Outcome], port: str) -> list[str]:
    card_file = made.folder.path / CARD
    steps = []
    if outcomes["gateway"].status != "registered":
        steps.append(f"on the gateway: wardtwin-edge tag add --config /etc/wardtwin/edge.toml {card_file.name}")
    if made.card.binding.transport == Transport.MQTT:
        steps.append(f"on the broker: append {made.folder.path / PASSWORD_LINE} to its password file and reload it")
    steps.append(f"wardtwin tag flash --card {card_file} --image ESP32_GENERIC.bin --port {port or '/dev/ttyUSB0'}")
    return steps


def _tell_made(console: Console, made: provisioning.Made, outcomes: dict[str, registration.Outcome], steps: list[str]) -> None:
    binding = made.card.binding
    console.print(
        f"Made {binding.kind} tag {binding.tag_id} for {binding.ward}, by {binding.transport}; key {'new' if made.new_key else 'kept'}."
    )
    console.print(f"  {made.folder.path}/  card, settings, image of {made.files} files (secret: keep it 0700)")
    for name, outcome in outcomes.items():
        if outcome.status != "not asked":
            console.print(
                f"  {name}: {outcome.status}" + (f" ({outcome.detail})" if outcome.status != "registered" else ""), soft_wrap=True
            )
    console.print("Next:")
    for step in steps:
        console.print(f"  {step}", soft_wrap=True)


@contextmanager
def _telling(console: Console, as_json: bool) -> Iterator[None]:
    """Turn an error of this package into two lines on stderr, the next step last, and its exit code."""
    try:
        yield
    except TagToolError as error:
        console.print(f"Error: {error}", style="red", soft_wrap=True)
        if error.advice:
            console.print(error.advice, soft_wrap=True)
        if as_json:
            emit({"error": str(error), "advice": error.advice})
        raise typer.Exit(error.exit_code) from error
