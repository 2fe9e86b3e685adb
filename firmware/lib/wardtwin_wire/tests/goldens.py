"""Write the golden frames anew (`python goldens.py write`) or check them; runs on CPython and on MicroPython alike.

Golden files change only with the wire format: a change here that is not a new version breaks every tag in the field.
"""

import json
import sys

from wardtwin_wire import bthome, ccm, frame, keys, serial

KEY = bytes(range(16))
TAG_ID = bytes((0xC0, 0xFF, 0xEE, 0, 0, 1))
ADDRESS = bytes((0xC0, 0xFF, 0xEE, 0, 0, 3))

ENERGY = {
    "active_power_w": 12.34,
    "voltage_v": 230.12,
    "current_a": 0.061,
    "power_factor": 0.879,
    "frequency_hz": 50.01,
    "energy_wh": 123456.7,
    "peak_current_a": 1.5,
}
ENVIRONMENT = {
    "temperature_c": -3.25,
    "relative_humidity_pct": 45.5,
    "pressure_hpa": 1013.2,
    "voc_index": 101,
    "co2_ppm": 640,
    "formaldehyde_ppb": 12,
    "pm1_ug_m3": 3,
    "pm2_5_ug_m3": 5,
    "pm10_ug_m3": 8,
}
STATUS = {
    "boot_count": 7,
    "reset_cause": 6,
    "heap_free_bytes": 90000,
    "queue_depth": 3,
    "queue_dropped": 0,
    "failed_parts": 5,
    "junk_bytes": 0,
    "firmware_version": 1,
}
SIGHTINGS = [(bytes((0xC0, 0xFF, 0xEE, 0, 1, 3)), -61), (bytes((0xC0, 0xFF, 0xEE, 0, 2, 3)), -84)]


def frames(block_of):
    """Return name -> bytes. block_of: key -> AES-ECB block function of this interpreter."""
    root = block_of(KEY)
    report = ccm.Ccm(block_of(keys.derive(root, keys.REPORT)), frame.TAG_BYTES)
    ack = ccm.Ccm(block_of(keys.derive(root, keys.ACK)), frame.TAG_BYTES)
    air = ccm.Ccm(block_of(keys.derive(root, keys.BTHOME)), bthome.TAG_BYTES)
    uptime_ms = 5_000_000_123
    sealed = {
        "energy": frame.seal(report, frame.ENERGY, TAG_ID, 7, 1, frame.pack_values(frame.ENERGY, uptime_ms, ENERGY)),
        "energy_partial": frame.seal(report, frame.ENERGY, TAG_ID, 7, 2, frame.pack_values(frame.ENERGY, 1, {"active_power_w": -5.0})),
        "environment": frame.seal(report, frame.ENVIRONMENT, TAG_ID, 7, 3, frame.pack_values(frame.ENVIRONMENT, 2, ENVIRONMENT)),
        "sightings": frame.seal(report, frame.SIGHTINGS, TAG_ID, 7, 4, frame.pack_sightings(3, SIGHTINGS)),
        "status": frame.seal(report, frame.STATUS, TAG_ID, 7, 0xFFFFFFFF, frame.pack_values(frame.STATUS, 4, STATUS)),
        "ack": frame.seal(ack, frame.ACK, TAG_ID, 0xDEADBEEF, 1, frame.pack_ack(1_790_000_000_000, [(7, 1, 4), (6, 9, 9)])),
    }
    out = {"frame_" + name: data for name, data in sealed.items()}
    out["serial_report"] = serial.encode(serial.REPORT, sealed["energy"])
    out["serial_zeros"] = serial.encode(serial.HELLO, bytes(9))
    counter = 0x01020304
    adverts = bthome.energy_frames(ENERGY) + [bthome.status_frame(7, uptime_ms, 5, 1.5), bthome.sightings_frame(SIGHTINGS)]
    for i, objects in enumerate(adverts):
        out["advert_energy_%d" % i] = bthome.advert(air, ADDRESS, counter + i, 250 + i, objects)
    adverts = bthome.environment_frames(ENVIRONMENT) + [bthome.status_frame(7, 60_000, 5)]
    for i, objects in enumerate(adverts):
        out["advert_environment_%d" % i] = bthome.advert(air, ADDRESS, counter + i, i, objects, -4)
    return out


def read_back(block_of, golden):
    """Open every golden frame again; return what is in them as plain values, for comparison across interpreters."""
    root = block_of(KEY)
    report = ccm.Ccm(block_of(keys.derive(root, keys.REPORT)), frame.TAG_BYTES)
    air = ccm.Ccm(block_of(keys.derive(root, keys.BTHOME)), bthome.TAG_BYTES)
    out = {}
    for name, data in golden.items():
        if name.startswith("advert"):
            end = 4 + data[3]
            counter, objects = bthome.open_service_data(air, ADDRESS, data[7:end])
            out[name] = [counter, bthome.is_beacon(data), bthome.decode(objects)]
        elif name.startswith("serial"):
            out[name] = [m[0] for m in serial.Decoder().feed(b"boot noise\x00" + data[:5] + data)]
        elif name in ("frame_energy", "frame_energy_partial", "frame_environment", "frame_status"):
            kind, _, boot_id, sequence, payload = frame.open_frame(report, data)
            out[name] = [kind, boot_id, sequence, frame.unpack_values(kind, payload)]
        elif name == "frame_sightings":
            out[name] = frame.unpack_sightings(frame.open_frame(report, data)[4])
    return out


def check(block_of, path):
    """Raise AssertionError when this interpreter makes or reads any frame otherwise than the golden file says."""
    with open(path) as file:
        golden = {name: bytes.fromhex(text) for name, text in json.load(file).items()}
    made = frames(block_of)
    assert sorted(made) == sorted(golden), "names differ"
    for name in sorted(golden):
        assert made[name] == golden[name], name + " is made otherwise"
    back = read_back(block_of, golden)
    assert back["frame_energy"][3] == (5_000_000_123, ENERGY), back["frame_energy"]
    assert back["frame_environment"][3][1] == ENVIRONMENT
    assert back["frame_status"][3][1] == STATUS
    assert back["frame_sightings"][1] == SIGHTINGS
    assert back["serial_report"] == [serial.REPORT]
    assert [back["advert_energy_%d" % i][1] for i in range(4)] == [False] * 4
    assert back["advert_environment_0"][1:] == [
        True,
        {"packet_id": 0, "temperature_c": -3.25, "relative_humidity_pct": 45.5, "pressure_hpa": 1013.2},
    ]
    assert back["advert_energy_3"][2]["sightings"] == [(address[-4:], rssi) for address, rssi in SIGHTINGS]
    return len(golden)


def _micropython_block(key):
    import cryptolib

    cipher = cryptolib.aes(key, 1)
    return cipher.encrypt


if __name__ == "__main__":
    print("goldens ok:", check(_micropython_block, sys.argv[1]))  # noqa: T201
