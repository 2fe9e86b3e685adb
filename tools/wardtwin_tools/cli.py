"""The `wardtwin` command. Each subcommand's work is in a module of its own; here are options, help and exit codes."""

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from wardtwin_board.errors import BoardError
from wardtwin_tools.doctor import doctor
from wardtwin_tools.errors import ToolError
from wardtwin_tools.output import console, emit

app = typer.Typer(
    help="wardtwin: know where your equipment is, whether it is in use, and what it needs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
bench_app = typer.Typer(help="Measure: ratios against ceilings taken in the same run.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
app.command()(doctor)
try:
    from wardtwin_tools.tag.cli import tag_app
except ModuleNotFoundError as missing:  # an installation without the tools extra still has doctor, which says so
    console.print(f"wardtwin tag is not available: {missing.name} is not installed. pip install 'wardtwin\\[tools]'")
else:
    app.add_typer(tag_app, name="tag")

Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout; everything else goes to stderr.")]


class BrokerChoice(StrEnum):
    AMQTT = "amqtt"
    MOSQUITTO = "mosquitto"


class TransportChoice(StrEnum):
    BLE = "ble"
    MQTT = "mqtt"
    SERIAL = "serial"


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="Run for --seconds, count, and end, instead of waiting for Ctrl-C.")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="How long a headless run lasts, from the first state on the page.")] = 30.0,
    port: Annotated[int | None, typer.Option(help="Port of the page; any free one by default when headless, 8400 otherwise.")] = None,
    broker: Annotated[BrokerChoice, typer.Option(help="amqtt is built in; mosquitto is what a ward runs.")] = BrokerChoice.AMQTT,
    workdir: Annotated[Path, typer.Option(help="Where the demo keeps its data; emptied at start.")] = Path("var/demo"),
    json: Json = False,
) -> None:
    """Run a whole ward on this machine: emulated tags, gateway, cloud agent, page."""
    from wardtwin_tools.demo import print_result, run_demo

    result = _run(run_demo(workdir, headless=headless, seconds=seconds, port=port, mosquitto=broker is BrokerChoice.MOSQUITTO), json)
    if json:
        emit(result)
    else:
        print_result(result)
    if result["lost"] or result["duplicates"]:
        raise typer.Exit(1)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="CSV with time_s,active_power_w[,voltage_v,current_a,power_factor], or .npz of days.")],
    device_type: Annotated[str, typer.Option(help="Type record that classifies it, e.g. washing_machine.")],
    unit: Annotated[str | None, typer.Option(help="Which day of an .npz, e.g. 7297E3_20120108; without it the keys are listed.")] = None,
    transport: Annotated[TransportChoice, typer.Option(help="How the tag reports.")] = TransportChoice.MQTT,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="Times as fast as recorded.")] = 200.0,
    start: Annotated[float, typer.Option(min=0, help="Skip this many seconds of the recording.")] = 0.0,
    duration: Annotated[float | None, typer.Option(min=1, help="Play this many seconds of it.")] = None,
    json: Json = False,
) -> None:
    """Play a recording through an emulated meter chip, tag, gateway and cloud; print the states the cloud made of it."""
    from wardtwin_tools.replay import Replay, print_intervals, run_replay

    plan = Replay(file, unit, device_type, transport.value, speed, start, duration)
    result = _run(run_replay(plan), json)
    if json:
        emit(result)
    else:
        print_intervals(result)
    if result["lost"] or result["duplicates"]:
        raise typer.Exit(1)


@bench_app.command("crash")
def bench_crash(
    kills: Annotated[int, typer.Option(min=1, help="How many processes are killed, one after the other.")] = 20,
    rate: Annotated[float, typer.Option(min=1, help="Messages a second over all tags.")] = 500.0,
    seed: Annotated[int | None, typer.Option(help="Makes the choice of victims and moments repeatable.")] = None,
    json: Json = False,
) -> None:
    """SIGKILL gateway, broker and cloud at random moments under load, settle, and count what is lost or double."""
    from wardtwin_tools.bench.crash import crash

    result = _run(crash(kills, rate, seed), json)
    emit(result) if json else console.print(result)
    if result["lost"] or result["duplicates"]:
        raise typer.Exit(1)


@bench_app.command("ingest")
def bench_ingest(
    messages: Annotated[int, typer.Option(min=1000, help="Frames queued at the broker for each stage and round.")] = 30_000,
    rounds: Annotated[int, typer.Option(min=1, help="Medians over this many rounds are reported.")] = 3,
    json: Json = False,
) -> None:
    """Messages a second from MQTT to durable commit, against paho alone and SQLite alone in the same run."""
    from wardtwin_tools.bench.ingest import ingest

    result = _run(ingest(messages, rounds), json)
    emit(result) if json else console.print(result)


def _run(work: Coroutine[Any, Any, dict[str, Any]], json: bool) -> dict[str, Any]:
    try:
        return asyncio.run(work)
    except (ToolError, BoardError, TimeoutError) as error:
        console.print(f"{type(error).__name__}: {error}", markup=False)
        if json:
            emit({"error": str(error)})
        raise typer.Exit(error.exit_code if isinstance(error, ToolError) else 1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def main() -> None:
    app(prog_name="wardtwin")


if __name__ == "__main__":
    main()
