"""The twin: what the hospital looks like now, in memory, rebuilt from the store at start."""

from wardtwin_cloud.twin.twin import Limits, Twin

__all__ = ["Limits", "Twin"]
