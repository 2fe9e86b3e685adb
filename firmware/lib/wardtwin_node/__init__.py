"""The board around the tag logic: NVS, flash, console, Wi-Fi and MQTT, BLE, watchdog. Both main.py stand on it."""
