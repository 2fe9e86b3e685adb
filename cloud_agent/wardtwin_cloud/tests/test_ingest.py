"""The door, over real HTTP against a real process."""

import concurrent.futures
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest
import zstandard

from wardtwin_cloud.tests.serving import GATEWAY, Feeder, Server, enrol, readings, serving
from wardtwin_sync.batch import MAX_BYTES, BatchKind, columns_of, digest, encode


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    with serving(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture
def feeder(server: tuple[Server, str], request: pytest.FixtureRequest) -> Iterator[Feeder]:
    with Feeder(server[0].url, server[1], epoch=request.node.name[:100]) as feeder:
        yield feeder


def rows_of_tag(feeder: Feeder, tag: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = feeder.get("/api/v1/sequences", tag_id=f"{tag:012x}")["sequences"]
    return rows


def test_a_batch_is_acked_and_its_rows_can_be_counted(feeder: Feeder) -> None:
    answer = feeder.send(BatchKind.READINGS, readings(1, 5, tag=0x10))
    assert answer.status_code == 200
    assert answer.json()["status"] == "stored"
    feeder.send(BatchKind.READINGS, readings(8, 3, tag=0x10))
    (row,) = rows_of_tag(feeder, 0x10)
    assert (row["count"], row["distinct"], row["first"], row["last"], row["missing"]) == (8, 8, 1, 10, [[6, 7]])


def test_the_same_batch_again_is_a_duplicate_and_adds_no_row(feeder: Feeder) -> None:
    batch = feeder.batch(BatchKind.READINGS, readings(1, 4, tag=0x11))
    assert [feeder.post(batch).json()["status"] for _ in range(3)] == ["stored", "duplicate", "duplicate"]
    assert rows_of_tag(feeder, 0x11)[0]["count"] == 4


def test_duplicate_rows_under_another_key_are_visible_as_count_above_distinct(feeder: Feeder) -> None:
    rows = readings(1, 4, tag=0x12)
    feeder.send(BatchKind.READINGS, rows)
    feeder.send(BatchKind.READINGS, rows)
    (row,) = rows_of_tag(feeder, 0x12)
    assert (row["count"], row["distinct"]) == (8, 4)


def test_the_same_key_with_other_content_goes_to_quarantine_and_changes_nothing(feeder: Feeder) -> None:
    feeder.send(BatchKind.READINGS, readings(1, 2, tag=0x13), sequence=7)
    other = feeder.batch(BatchKind.READINGS, readings(100, 2, tag=0x13), sequence=7)
    assert [feeder.post(other).json()["status"] for _ in range(2)] == ["quarantined", "quarantined"]
    assert rows_of_tag(feeder, 0x13)[0]["last"] == 2
    kept = [row for row in feeder.get("/api/v1/quarantine")["quarantine"] if row["epoch"] == feeder.epoch]
    assert len(kept) == 1
    assert kept[0]["times"] == 2
    assert kept[0]["offered_digest"] == digest(encode(other))
    assert feeder.epoch in httpx.get(f"{feeder.url}/gateways").text


def test_concurrent_senders_of_one_batch_store_it_once(feeder: Feeder) -> None:
    batch = feeder.batch(BatchKind.READINGS, readings(1, 50, tag=0x14))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = [answer.json()["status"] for answer in pool.map(lambda _: feeder.post(batch), range(16))]
    assert sorted(statuses) == ["duplicate"] * 15 + ["stored"]
    assert rows_of_tag(feeder, 0x14)[0]["count"] == 50


def test_without_a_token_401_with_anothers_403(feeder: Feeder, server: tuple[Server, str]) -> None:
    raw = encode(feeder.batch(BatchKind.READINGS, readings(1, 1)))
    for header in ("", "Bearer", "Bearer wrong", f"Basic {feeder.token}", "Bearer \u00e9"):
        answer = feeder.post_raw(raw, feeder.sequence, headers={"Authorization": header.encode("latin-1")})  # type: ignore[dict-item]
        assert answer.status_code == 401, header
    assert feeder.post_raw(raw, feeder.sequence, path_gateway="gw-other").status_code == 403


def test_a_gateway_added_while_the_agent_runs_may_send_within_seconds(feeder: Feeder, server: tuple[Server, str]) -> None:
    feeder.token, feeder.gateway_id = enrol(server[0].data, "gw-late"), "gw-late"
    end = time.monotonic() + 5
    while (status := feeder.send(BatchKind.READINGS, readings(1, 1)).status_code) == 401 and time.monotonic() < end:
        time.sleep(0.1)
    assert status == 200


def test_a_bomb_is_refused_without_being_unpacked(feeder: Feeder, server: tuple[Server, str]) -> None:
    assert server[0].process is not None
    process = psutil.Process(server[0].process.pid)
    before = process.memory_info().rss
    huge = zstandard.compress(bytes(600 * 1024 * 1024), 1)
    assert len(huge) < 100_000
    assert feeder.post_raw(b"{}", 1, body=huge).status_code == 413
    # the same without its size in the frame's head
    silent = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    lying = silent.compress(bytes(64 * 1024 * 1024)) + silent.flush()
    assert feeder.post_raw(b"{}", 1, body=lying).status_code == 413
    assert process.memory_info().rss - before < 40 * 1024 * 1024


def test_a_frame_asking_for_a_large_window_is_refused(feeder: Feeder) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, write_content_size=False)
    squeezed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = squeezed.compress(b"[1]" * 1000) + squeezed.flush()
    assert feeder.post_raw(b"{}", 1, body=body).status_code == 413


def test_more_than_the_bound_is_refused_before_it_is_read(feeder: Feeder) -> None:
    raw = bytes(MAX_BYTES + 1)
    assert feeder.post_raw(raw, 1, body=raw, headers={"Content-Encoding": "identity"}).status_code == 413
    # chunked, with no length to look at
    answer = feeder.client.post(
        f"{feeder.url}/api/v1/gateways/{GATEWAY}/batches/e/1",
        content=(bytes(1024 * 1024) for _ in range(9)),
        headers={"Authorization": f"Bearer {feeder.token}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "spoil",
    [
        '"active_power_w":[NaN]',
        '"active_power_w":[Infinity]',
        '"active_power_w":[1e999]',
        '"active_power_w":["40"]',
        '"active_power_w":[true]',
        '"active_power_w":[1e300]',
        '"sequence":[-1]',
        '"sequence":[99999999999999999999]',
        '"sequence":[1.5]',
        '"boot_id":[null]',
        '"measured_at":[-5]',
        '"measured_at":[1e15]',
        '"tag_id":[""]',
        '"tag_id":["' + "x" * 200 + '"]',
        '"transport":["pigeon"]',
        '"sightings":[' + "[" * 5000 + "]" * 5000 + "]",
        '"sequence":[1,2]',
    ],
    ids=lambda text: text[:30],
)
def test_a_bad_cell_refuses_the_batch_with_400_and_stores_none_of_it(feeder: Feeder, spoil: str) -> None:
    batch = feeder.batch(BatchKind.READINGS, readings(1, 1, tag=0x15))
    name = spoil[1 : spoil.index('":')]
    columns = {column: cells for column, cells in batch.columns.items() if column != name}
    raw = encode(msgspec.structs.replace(batch, columns=columns)).replace(b'"columns":{', b'"columns":{' + spoil.encode() + b",")
    answer = feeder.post_raw(raw, batch.sequence)
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"]
    assert rows_of_tag(feeder, 0x15) == []
    assert feeder.send(BatchKind.READINGS, readings(1, 1, tag=0x1500)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"\x00", b"{", b"[]", b"null", b'{"schema":1}', b"\xff" * 100, b"[" * 200_000])
def test_bytes_that_are_no_batch_are_refused_with_400(feeder: Feeder, body: bytes) -> None:
    assert feeder.post_raw(body, 1).status_code == 400
    assert feeder.post_raw(b"{}", 1, body=body).status_code == 400


def test_a_batch_changed_on_the_way_is_refused(feeder: Feeder) -> None:
    raw = encode(feeder.batch(BatchKind.READINGS, readings(1, 1, tag=0x16)))
    answer = feeder.post_raw(raw, 1, body=zstandard.compress(raw.replace(b"230.1", b"230.2")))
    assert (answer.status_code, answer.json()["error"]) == (400, "hash")


def test_path_and_batch_must_name_the_same_key(feeder: Feeder) -> None:
    raw = encode(feeder.batch(BatchKind.READINGS, readings(1, 1)))
    answer = feeder.post_raw(raw, 4711)
    assert (answer.status_code, answer.json()["error"]) == (400, "key")


def test_unknown_devices_are_kept_and_shown_and_do_not_disturb(feeder: Feeder) -> None:
    now = time.time()
    assert feeder.send(BatchKind.READINGS, readings(1, 2, tag=0xABC)).status_code == 200
    state = {"device_id": "ghost", "tag_id": None, "state": "in_use", "since": now, "reason": "rule"}
    assert feeder.send(BatchKind.STATES, [state]).status_code == 200
    unknown = {(row["kind"], row["id"]) for row in feeder.get("/api/v1/twin")["unknown"]}
    assert {("tag", "000000000abc"), ("device", "ghost")} <= unknown
    assert feeder.get("/api/v1/devices/ghost/states")["states"][0]["state"] == "in_use"


def test_rows_from_the_future_are_kept_but_not_believed(feeder: Feeder) -> None:
    now = time.time()
    feeder.send(BatchKind.STATES, [{"device_id": "device-1", "tag_id": None, "state": "standby", "since": now, "reason": "rule"}])
    tomorrow = {"device_id": "device-1", "tag_id": None, "state": "in_use", "since": now + 86400, "reason": "rule"}
    assert feeder.send(BatchKind.STATES, [tomorrow]).status_code == 200
    twin = feeder.get("/api/v1/twin")
    assert next(row for row in twin["devices"] if row["device_id"] == "device-1")["reported_state"] == "standby"
    assert next(row for row in twin["gateways"] if row["gateway_id"] == GATEWAY)["rows_ahead_of_clock"] >= 1
    assert [row["state"] for row in feeder.get("/api/v1/devices/device-1/states")["states"]][-1] == "in_use"


def test_a_body_that_breaks_off_stores_nothing_and_the_agent_goes_on(feeder: Feeder) -> None:
    body = zstandard.compress(encode(feeder.batch(BatchKind.READINGS, readings(1, 50, tag=0x17))))
    port = int(feeder.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as line:
        head = (
            f"POST /api/v1/gateways/{GATEWAY}/batches/{feeder.epoch}/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {feeder.token}\r\n"
            f"Content-Type: application/json\r\nContent-Encoding: zstd\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        line.sendall(head.encode() + body[: len(body) // 2])
    time.sleep(0.2)
    assert rows_of_tag(feeder, 0x17) == []
    end = time.monotonic() + 5
    while feeder.get("/healthz")["pending_batches"] and time.monotonic() < end:
        time.sleep(0.05)
    assert feeder.get("/healthz")["pending_batches"] == 0


def test_every_kind_is_stored_and_readable(feeder: Feeder) -> None:
    now = time.time()
    rows: dict[BatchKind, dict[str, object]] = {
        BatchKind.PLACEMENTS: {"device_id": "device-2", "tag_id": None, "room_id": "room-1", "since": now, "rssi_dbm": -61},
        BatchKind.ALARMS: {
            "alarm_id": "k1", "rule": "over_voltage", "subject": "device:device-2", "severity": "caution", "raised_at": now,
            "cleared_at": None, "value": 260.0, "limit": 253.0, "unit": "V",
        },
        BatchKind.SUMMARIES: {
            "subject": "device:device-2", "minute_start": now - 60, "samples": 60, "active_power_w": 5.0, "active_power_w_min": 4.0,
            "active_power_w_max": 6.0, "seconds_by_state": {"standby": 60.0}, "novel_measure": 3,
        },
        BatchKind.HEALTH: {
            "at": now, "clock_state": "synchronised", "queue_depth": 2, "disk_bytes": 10, "tags_heard": 4,
            "rejected": {"replay": 2, "crc": 1}, "detail": {"version": "0.1"},
        },
    }  # fmt: skip
    for kind, row in rows.items():
        assert feeder.send(kind, [row]).status_code == 200, kind
    twin = feeder.get("/api/v1/twin")
    device = next(row for row in twin["devices"] if row["device_id"] == "device-2")
    assert (device["room_id"], device["rssi_dbm"], device["active_power_w"]) == ("room-1", -61, 5.0)
    assert [row["alarm_id"] for row in twin["alarms"]] == ["k1"]
    assert next(row for row in twin["gateways"] if row["gateway_id"] == GATEWAY)["rejected"] == 3
    (summary,) = feeder.get("/api/v1/devices/device-2/summaries")["summaries"]
    assert (summary["seconds_by_state"], summary["detail"]) == ({"standby": 60.0}, {"novel_measure": 3})
    cleared = {**rows[BatchKind.ALARMS], "cleared_at": now + 1}
    feeder.send(BatchKind.ALARMS, [cleared])
    feeder.send(BatchKind.ALARMS, [rows[BatchKind.ALARMS]])
    assert feeder.get("/api/v1/twin")["alarms"] == [], "a late raise opened a cleared alarm"


def test_a_full_queue_answers_429_with_retry_after(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, token), Feeder(server.url, token) as feeder:
        port = server.port
        held = []
        head = (
            f"POST /api/v1/gateways/{GATEWAY}/batches/e/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        try:
            for _ in range(64):
                line = socket.create_connection(("127.0.0.1", port))
                line.sendall(head.encode())
                held.append(line)
            end = time.monotonic() + 5
            while feeder.get("/healthz")["pending_batches"] < 64 and time.monotonic() < end:
                time.sleep(0.05)
            answer = feeder.send(BatchKind.READINGS, readings(1, 1))
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 10
        finally:
            for line in held:
                line.close()
        end = time.monotonic() + 5
        while (status := feeder.send(BatchKind.READINGS, readings(1, 1)).status_code) == 429 and time.monotonic() < end:
            time.sleep(0.05)
        assert status == 200


def test_killed_in_mid_flow_every_acked_batch_is_there_once(tmp_path: Path) -> None:
    """A gateway that sends on until acked, an agent that is killed with SIGKILL again and again."""
    with serving(tmp_path) as (server, token):
        batches, wanted_kills = 120, 3
        killed_enough = threading.Event()

        def uplink(lane: int) -> int:
            """Send at least `batches`, and on until the agent was killed often enough; return how many rows were acked."""
            sequence = 0
            with Feeder(server.url, token, epoch=f"lane-{lane}") as feeder:
                while sequence < batches or not killed_enough.is_set():
                    sequence += 1
                    batch = feeder.batch(BatchKind.READINGS, readings(sequence * 10, 10, tag=lane), sequence=sequence)
                    while True:
                        try:
                            answer = feeder.post(batch)
                        except httpx.TransportError:
                            time.sleep(0.02)
                            continue
                        if answer.status_code == 200:
                            break
                        assert answer.status_code in (429, 503), answer.text
                        time.sleep(0.02)
            return sequence * 10

        def murder() -> None:
            for _ in range(wanted_kills):
                time.sleep(0.35)
                server.kill()
                server.start()
            killed_enough.set()

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            killer = pool.submit(murder)
            lanes = [pool.submit(uplink, lane) for lane in (1, 2, 3)]
            acked = sorted(lane.result(120) for lane in lanes)
            killer.result(10)
        with Feeder(server.url, token) as feeder:
            rows = feeder.get("/api/v1/sequences")["sequences"]
            assert sorted(row["count"] for row in rows) == acked
            assert all(row["count"] == row["distinct"] and row["missing"] == [] for row in rows)


def test_columns_of_keeps_the_names_this_package_stores() -> None:
    row = readings(1, 1)[0]
    assert set(columns_of([row], BatchKind.READINGS)) == set(row)
