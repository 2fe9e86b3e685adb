"""A cloud small enough for a test: keeps what it is sent by key and hash, and answers what it is told to answer."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import zstandard

from wardtwin_sync import batch as sync
from wardtwin_sync.batch import Ack, Batch, BatchKind

Answer = tuple[int, dict[str, str], bytes]


class Cloud:
    """`answer`: given a batch returns status, headers and body, or None for the ordinary ack."""

    def __init__(self) -> None:
        self.batches: dict[tuple[str, int], Batch] = {}
        self.hashes: dict[tuple[str, int], set[str]] = {}
        self.order: list[BatchKind] = []
        self.posts = 0
        self.answer: Callable[[Batch], Answer | None] = lambda batch: None
        cloud = self

        class Desk(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                raw = zstandard.decompress(body)
                batch = sync.decode_batch(raw)
                assert self.headers["Wardtwin-Hash"] == sync.digest(raw)
                assert self.headers["Authorization"] == "Bearer secret"
                assert self.path == f"/api/v1/gateways/{batch.gateway_id}/batches/{batch.epoch}/{batch.sequence}"
                cloud.posts += 1
                status, headers, answer = cloud.answer(batch) or cloud.keep(batch, sync.digest(raw))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *rest: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def keep(self, batch: Batch, digest: str) -> Answer:
        key = (batch.epoch, batch.sequence)
        status = "duplicate" if key in self.batches else "stored"
        self.batches[key] = batch
        self.hashes.setdefault(key, set()).add(digest)
        self.order.append(batch.kind)
        return 200, {}, sync.encode(Ack(batch.gateway_id, batch.epoch, batch.sequence, status))

    def rows(self, kind: BatchKind) -> list[dict[str, Any]]:
        return [row for batch in self.batches.values() if batch.kind is kind for row in sync.rows_of(batch)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
