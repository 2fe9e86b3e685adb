"""The `wardtwin-edge` command."""

import asyncio
import json
import logging
import sqlite3
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from wardtwin_edge import config as configs
from wardtwin_edge import doctor as doctors
from wardtwin_edge import maintenance, roster
from wardtwin_edge.errors import EdgeError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="The wardtwin gateway of one ward.")
tag_app = typer.Typer(no_args_is_help=True, help="Tags this gateway accepts.")
registry_app = typer.Typer(no_args_is_help=True, help="Rooms, devices and bindings.")
maintain_app = typer.Typer(no_args_is_help=True, help="The gateway's database.")
app.add_typer(tag_app, name="tag")
app.add_typer(registry_app, name="registry")
app.add_typer(maintain_app, name="maintain")

ConfigOption = Annotated[Path, typer.Option("--config", help="The gateway's TOML file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One line of JSON on stdout.")]
DEFAULT_CONFIG = Path("/etc/wardtwin/edge.toml")


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the gateway until SIGTERM."""
    from wardtwin_edge.gateway import Gateway  # the other commands are quicker without all that it brings

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = configs.read(config)

    async def gateway() -> int:
        return await Gateway(settings).run()

    raise typer.Exit(asyncio.run(gateway()))


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Say what the gateway hears, stores and sends, and what needs you. Exit code 1 when something does."""
    facts = doctors.examine(configs.read(config))
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        doctors.show(facts)
    raise typer.Exit(1 if doctors.needs_somebody(facts) else 0)


@tag_app.command("add")
def tag_add(cards: list[Path], config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Accept the tags of these cards. A running gateway notices within two seconds."""
    files = roster.Files(configs.read(config).data_dir)
    for card in cards:
        added = files.add_card(card.read_bytes())
        typer.echo(f"{added.binding.tag_id} added")


@tag_app.command("list")
def tag_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the tags this gateway accepts; never their keys."""
    known, faults = roster.Files(configs.read(config).data_dir).load()
    rows = [
        {
            "tag_id": tag.tag_id,
            "kind": tag.binding.kind,
            "transport": tag.binding.transport.value,
            "device": tag.device.name if tag.device else None,
            "room_id": tag.binding.room_id,
        }
        for tag in known.tags
    ]
    for fault in faults:
        typer.echo(f"warning: {fault}", err=True)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    doctors.table(["tag", "kind", "transport", "device", "room"], [[str(cell or "") for cell in row.values()] for row in rows])


@registry_app.command("import")
def registry_import(file: Path, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take over a registry exported by the cloud agent."""
    known = roster.Files(configs.read(config).data_dir).put_registry(file.read_bytes())
    typer.echo(f"{len(known.rooms())} rooms, {len(known.devices)} devices, {len(known.tags)} tags")


@maintain_app.command("check")
def maintain_check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Read the whole database through. Exit code 1 when it is damaged."""
    faults = maintenance.check(configs.read(config).data_dir)
    for fault in faults:
        typer.echo(fault)
    if faults:
        typer.echo("Damaged: restart the gateway. It keeps this database aside and starts a new one.", err=True)
        raise typer.Exit(1)
    typer.echo("ok")


@maintain_app.command("vacuum")
def maintain_vacuum(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Give free pages back to the disk. Stop the gateway first."""
    before, after = maintenance.vacuum(configs.read(config).data_dir)
    typer.echo(f"{before / 1e6:.1f} MB -> {after / 1e6:.1f} MB")


@maintain_app.command("export")
def maintain_export(
    table: Annotated[str, typer.Argument(help=f"One of {', '.join(maintenance.TABLES)}.")],
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int | None, typer.Option(help="The newest so many rows only.")] = None,
) -> None:
    """Write a table's rows to stdout, one JSON object a line, oldest first."""
    for row in maintenance.export(configs.read(config).data_dir, table, limit):
        typer.echo(json.dumps(row, default=_plain))


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def main() -> None:
    try:
        app()
    except EdgeError as error:
        sys.exit(f"error: {error}" + (f"\n{error.advice}" if error.advice else ""))
    except sqlite3.Error as error:
        sys.exit(f"error: the database: {error}\nrun wardtwin-edge maintain check")
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        sys.exit(f"error: {error}\ncheck that the path is right and that you may read and write it")


if __name__ == "__main__":
    main()
