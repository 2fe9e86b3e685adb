"""The `wardtwin-edge` command."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from wardtwin_edge import config as configs
from wardtwin_edge import roster
from wardtwin_edge.errors import EdgeError
from wardtwin_edge.gateway import Gateway

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
tag_app = typer.Typer(no_args_is_help=True, help="Tags this gateway accepts.")
registry_app = typer.Typer(no_args_is_help=True, help="Rooms, devices and bindings.")
app.add_typer(tag_app, name="tag")
app.add_typer(registry_app, name="registry")

ConfigOption = Annotated[Path, typer.Option("--config", help="The gateway's TOML file.")]
DEFAULT_CONFIG = Path("/etc/wardtwin/edge.toml")


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the gateway until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = configs.read(config)

    async def gateway() -> int:
        return await Gateway(settings).run()

    raise typer.Exit(asyncio.run(gateway()))


@tag_app.command("add")
def tag_add(cards: list[Path], config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Accept the tags of these cards; a running gateway notices within a second or two."""
    files = roster.Files(configs.read(config).data_dir)
    for card in cards:
        added = files.add_card(card.read_bytes())
        typer.echo(f"{added.binding.tag_id} added")


@registry_app.command("import")
def registry_import(file: Path, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take over a registry exported by the cloud agent."""
    known = roster.Files(configs.read(config).data_dir).put_registry(file.read_bytes())
    typer.echo(f"{len(known.rooms())} rooms, {len(known.devices)} devices, {len(known.tags)} tags")


def main() -> None:
    try:
        app()
    except EdgeError as error:
        sys.exit(f"error: {error}" + (f"\n{error.advice}" if error.advice else ""))
    except OSError as error:
        sys.exit(f"error: {error}")
