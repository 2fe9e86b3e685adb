"""State changes as the cloud has them → intervals in seconds from a recording's start. Pure."""

from collections.abc import Sequence
from typing import Any


def intervals(transitions: Sequence[dict[str, Any]], began: float, ended: float) -> list[dict[str, Any]]:
    """`transitions`: rows with `state` and `since` (UTC seconds), in order of `since`; `began`, `ended`: the recording's, likewise.

    The first interval starts at 0 with the state that holds there (unknown until the first word), the last ends with the recording;
    neighbours of the same state are one.
    """
    out: list[dict[str, Any]] = [{"state": "unknown", "start_s": 0.0, "end_s": 0.0}]
    for row in transitions:
        if row["since"] >= ended:
            break
        start_s = round(max(row["since"] - began, 0.0), 1)
        if row["state"] == out[-1]["state"]:
            continue
        out[-1]["end_s"] = start_s
        if out[-1]["end_s"] <= out[-1]["start_s"]:
            out.pop()
        out.append({"state": row["state"], "start_s": start_s, "end_s": start_s})
    out[-1]["end_s"] = round(ended - began, 1)
    return out
