"""The facts as Prometheus metrics, in a registry of their own. Pure: facts in, text out."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(facts: dict[str, Any]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts(facts))
    return generate_latest(registry)


class _Facts(Collector):
    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        facts = self._facts
        commit = facts["commit"]
        yield _counter("readings_committed", "Readings durably stored since the start.", commit.get("committed", 0))
        yield _counter("readings_duplicate", "Reports that had been stored before.", commit.get("duplicates", 0))
        yield _gauge("commit_alive", "1 while the commit loop answers.", commit["alive"])
        yield _gauge("commit_waiting_groups", "Groups of messages waiting for the commit loop.", commit["waiting"])
        yield _gauge("clock_synchronised", "1 when the time is known.", facts["clock"]["state"] in ("synchronised", "scaled"))
        yield _gauge("cloud_reached", "1 when the last batch was acked.", facts["cloud"]["is_reached"])
        yield _counter("cloud_rows_acked", "Rows the cloud has acked since the start.", facts["cloud"]["acked_rows"])
        yield _gauge("store_used_bytes", "What the database's rows take.", facts["disk"]["used_bytes"])
        yield _gauge("store_bound_bytes", "What they may take.", facts["disk"]["bound_bytes"])
        yield _gauge("disk_free_bytes", "Free on the disk.", facts["disk"]["free_bytes"])
        received = CounterMetricFamily("wardtwin_edge_received", "Messages received.", labels=["transport"])
        up = GaugeMetricFamily("wardtwin_edge_transport_up", "1 while the transport works; absent: not configured.", labels=["transport"])
        for name, transport in facts["transports"].items():
            received.add_metric([name], transport["received"])
            if transport["ok"] is not None:
                up.add_metric([name], float(transport["ok"]))
        rejected = CounterMetricFamily("wardtwin_edge_rejected", "Messages refused.", labels=["transport", "reason"])
        for row in facts["rejected"]:
            rejected.add_metric([row["transport"], row["reason"]], row["count"])
        waiting = GaugeMetricFamily("wardtwin_edge_outbox_rows", "Rows waiting for the cloud.", labels=["kind"])
        for kind, n in facts["outbox"].items():
            waiting.add_metric([kind], n)
        dropped = CounterMetricFamily("wardtwin_edge_dropped", "Rows dropped because of the disk's bound.", labels=["class"])
        for storage_class, n in facts["dropped"].items():
            dropped.add_metric([storage_class], n)
        age = GaugeMetricFamily("wardtwin_edge_tag_age_seconds", "Since the tag was last heard.", labels=["tag", "name"])
        for tag in facts["tags"]:
            if tag["age_s"] is not None:
                age.add_metric([tag["tag_id"], tag["name"]], tag["age_s"])
        alarms = GaugeMetricFamily("wardtwin_edge_alarm", "1 for each standing alarm.", labels=["rule", "subject", "severity"])
        for alarm in facts["alarms"]:
            alarms.add_metric([alarm["rule"], alarm["subject"], alarm["severity"]], 1)
        yield from (received, up, rejected, waiting, dropped, age, alarms)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"wardtwin_edge_{name}", text, value=float(value))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"wardtwin_edge_{name}", text, value=float(value))
