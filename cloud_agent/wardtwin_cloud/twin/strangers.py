"""Tags and devices heard by a gateway but not in the register: shown so that someone can add them. Bounded."""

from typing import Any

MAX_STRANGERS = 200


class Strangers:
    def __init__(self) -> None:
        self._met: dict[tuple[str, str], dict[str, Any]] = {}
        self.rows = 0
        """Rows about strangers since the cloud started, those beyond the bound included."""

    def meet(self, noun: str, subject: str, gateway_id: str, at: float) -> None:
        self.rows += 1
        known = self._met.get((noun, subject))
        if known is not None:
            known["heard_at"] = max(known["heard_at"], at)
            known["gateway_id"] = gateway_id
        elif len(self._met) < MAX_STRANGERS:
            self._met[noun, subject] = {"kind": noun, "id": subject, "gateway_id": gateway_id, "heard_at": at}

    def view(self) -> list[dict[str, Any]]:
        return sorted(self._met.values(), key=lambda row: -row["heard_at"])
