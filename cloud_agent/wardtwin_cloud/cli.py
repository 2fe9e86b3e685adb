"""The command `wardtwin-cloud`. Results go to stdout, everything else to stderr; `--json` ends stdout with one JSON line."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from wardtwin_cloud.clock import clock_from
from wardtwin_cloud.config import CloudConfig
from wardtwin_cloud.errors import CloudError, ConfigError, RegistryError
from wardtwin_cloud.register import check_registry
from wardtwin_cloud.store import SqliteStore, open_store
from wardtwin_cloud.tokens import REGISTRAR_PREFIX, fingerprint, new_token
from wardtwin_sync.errors import SchemaError
from wardtwin_sync.registry import decode_registry, encode

app = typer.Typer(help="The cloud agent of wardtwin: takes what gateways send, shows the twin.", no_args_is_help=True, add_completion=False)
registry_app = typer.Typer(help="Hospital, rooms, devices and tags.", no_args_is_help=True)
gateway_app = typer.Typer(help="Gateways that may send.", no_args_is_help=True)
token_app = typer.Typer(help="Tokens that make tags known, for `wardtwin tag provision --cloud`.", no_args_is_help=True)
app.add_typer(registry_app, name="registry")
app.add_typer(gateway_app, name="gateway")
app.add_typer(token_app, name="token")

notes = Console(stderr=True, highlight=False)
results = Console(highlight=False)

DataDir = Annotated[Path, typer.Option("--data", help="Folder of the database.", envvar="WARDTWIN_CLOUD_DATA")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
DEFAULT_DATA = Path("var/cloud")


@contextmanager
def plain_errors() -> Iterator[None]:
    """A fault is told in plain words, its next step in the last line; exit code 1."""
    try:
        yield
    except RegistryError as error:
        notes.print(f"[red]The registry contradicts itself in {len(error.faults)} place(s):[/]")
        for fault in error.faults[:50]:
            notes.print(f"  · {fault}", markup=False)
        notes.print("Nothing was imported. Correct the file and import it again.")
        raise typer.Exit(1) from None
    except (CloudError, SchemaError) as error:
        notes.print("[red]Error:[/]", end=" ")
        notes.print(str(error), markup=False)
        raise typer.Exit(1) from None


@contextmanager
def opened(data: Path) -> Iterator[SqliteStore]:
    store = open_store(CloudConfig(data).database)
    try:
        yield store
    finally:
        store.close()


def check_name(name: str, noun: str) -> None:
    if not name or len(name) > 128 or not all(c.isalnum() or c in "-_." for c in name):
        raise ConfigError(f"{noun} has 1 to 128 letters, digits, '-', '_' or '.'")


def day_and_time(at: float | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")


def show(value: dict[str, Any], as_json: bool, human: Callable[[], None]) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    else:
        human()


@app.command()
def run(
    data: DataDir = DEFAULT_DATA,
    host: Annotated[str, typer.Option(help="Address to listen on. Pages are open to whoever reaches it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    stale_after: Annotated[float, typer.Option(min=1, help="Seconds after which a device not heard is shown as unknown.")] = 120.0,
    silent_after: Annotated[float, typer.Option(min=1, help="Seconds after which a gateway that sends nothing is called silent.")] = 120.0,
) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    from wardtwin_cloud.serve import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with plain_errors():
        config = CloudConfig(data, host, port, stale_after_s=stale_after, gateway_silent_after_s=silent_after)
        notes.print(f"wardtwin cloud: http://{f'[{host}]' if ':' in host else host}:{port}  data in {data}")
        serve(config, clock_from(os.environ))


@registry_app.command("import")
def registry_import(file: Annotated[Path, typer.Argument(dir_okay=False)], data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Replace the registry by FILE (JSON). A running agent takes it within a second."""
    with plain_errors():
        try:
            registry = decode_registry(file.read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}") from error
        check_registry(registry)
        with opened(data) as store:
            revision = store.import_registry(encode(registry), clock_from(os.environ).now())
    counts = {"revision": revision, "rooms": len(registry.rooms()), "devices": len(registry.devices), "tags": len(registry.tags)}
    show(
        counts,
        as_json,
        lambda: results.print(
            f"{registry.hospital.name}: {counts['rooms']} rooms, {counts['devices']} devices, {counts['tags']} tags (revision {revision})"
        ),
    )


@gateway_app.command("add")
def gateway_add(
    gateway_id: str,
    data: DataDir = DEFAULT_DATA,
    new: Annotated[bool, typer.Option("--new-token", help="For a known gateway: end its token, make a new one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a gateway send. Prints its token, which is stored as a hash only and cannot be shown again."""
    with plain_errors():
        check_name(gateway_id, "a gateway id")
        token = new_token()
        with opened(data) as store:
            if not new and any(row["gateway_id"] == gateway_id for row in store.gateways()):
                raise ConfigError(f"gateway {gateway_id} is known already; to end its token and make a new one, add --new-token")
            store.add_gateway(gateway_id, fingerprint(token), time.time())

    def human() -> None:
        notes.print(f"Gateway {gateway_id} may send. Put this token into its configuration, [cloud] token; it is not shown again.")
        sys.stdout.write(token + "\n")

    show({"gateway_id": gateway_id, "token": token}, as_json, human)


@gateway_app.command("list")
def gateway_list(data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Gateways and when each was last heard."""
    with plain_errors(), opened(data) as store:
        rows = [{name: cell for name, cell in row.items() if name != "fingerprint"} for row in store.gateways()]

    def human() -> None:
        table = Table("gateway", "last batch", box=None, pad_edge=False)
        for name in ("batches", "rows", "quarantined"):
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(
                row["gateway_id"], day_and_time(row["received_at"]), str(row["batches"]), str(row["rows"]), str(row["quarantined"])
            )
        results.print(table if rows else "No gateway yet. Add one: wardtwin-cloud gateway add ID")

    show({"gateways": rows}, as_json, human)


@token_app.command("add")
def token_add(name: str, data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Let someone make tags known. Prints the token, which is stored as a hash only and cannot be shown again."""
    with plain_errors():
        check_name(name, "a token's name")
        token = new_token(REGISTRAR_PREFIX)
        with opened(data) as store:
            if not store.add_token(name, fingerprint(token), time.time()):
                raise ConfigError(f"there is a token {name} already; end it first with: wardtwin-cloud token revoke {name}")

    def human() -> None:
        notes.print(f"{name} may make tags known. Put this token into a file of its own, for --cloud-token-file; it is not shown again.")
        sys.stdout.write(token + "\n")

    show({"name": name, "token": token}, as_json, human)


@token_app.command("list")
def token_list(data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Who may make tags known."""
    with plain_errors(), opened(data) as store:
        rows = [{"name": row["name"], "added_at": row["added_at"]} for row in store.tokens()]

    def human() -> None:
        table = Table("token", "added", box=None, pad_edge=False)
        for row in rows:
            table.add_row(row["name"], day_and_time(row["added_at"]))
        results.print(table if rows else "No token yet. Add one: wardtwin-cloud token add NAME")

    show({"tokens": rows}, as_json, human)


@token_app.command("revoke")
def token_revoke(name: str, data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """End a token, at once."""
    with plain_errors(), opened(data) as store:
        if not store.revoke_token(name):
            raise ConfigError(f"there is no token {name}; see them with: wardtwin-cloud token list")
    show({"name": name, "revoked": True}, as_json, lambda: notes.print(f"The token {name} ended.", markup=False))


@app.command()
def status(data: DataDir = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """What the store holds."""
    with plain_errors(), opened(data) as store:
        stored = store.registry()
        registry = decode_registry(stored[1]) if stored else None
        gateways = store.gateways()
        counts: dict[str, Any] = {
            "hospital": registry.hospital.name if registry else None,
            "registry_revision": stored[0] if stored else None,
            "devices": len(registry.devices) if registry else 0,
            "tags": len(registry.tags) if registry else 0,
            "gateways": len(gateways),
            "batches": sum(row["batches"] for row in gateways),
            "rows": sum(row["rows"] for row in gateways),
            "quarantined": store.quarantine_count(),
            "open_alarms": len(store.open_alarms(1_000)),
        }

    def human() -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in counts.items():
            table.add_row(name.replace("_", " "), "none yet" if value is None else str(value))
        results.print(table)

    show(counts, as_json, human)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
