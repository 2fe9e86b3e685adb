"""Settings of one cloud agent, read once and handed down."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CloudConfig:
    """Times ending in `_s` are seconds of real time; with a scaled clock the limits stretch by its speed."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    stale_after_s: float = 120.0
    """A device not heard for longer is shown as unknown."""
    gateway_silent_after_s: float = 120.0
    """Everything behind a gateway that sent no batch for longer is shown as unknown."""
    future_tolerance_s: float = 300.0
    """Rows dated further ahead of the cloud's clock are kept but never become the current state."""
    max_pending_batches: int = 64
    max_pending_bytes: int = 64 * 1024 * 1024
    """Uncompressed bytes of all batches between the door and the commit."""
    max_commit_rows: int = 20_000
    """Rows one commit gathers from concurrent batches."""
    body_timeout_s: float = 30.0
    max_live_clients: int = 500

    @property
    def database(self) -> Path:
        return self.data_dir / "wardtwin.sqlite"
