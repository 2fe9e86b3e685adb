"""Names and breadcrumbs of places. Pure."""

from typing import Any
from urllib.parse import quote

from wardtwin_sync.registry import Building, Floor, Registry, Room


class Places:
    def __init__(self, registry: Registry | None) -> None:
        self._hospital = registry.hospital if registry is not None else None
        self._rooms: dict[str, tuple[Building, Floor, Room]] = {}
        for building in self._hospital.buildings if self._hospital is not None else ():
            for floor in building.floors:
                for room in floor.rooms:
                    self._rooms[room.room_id] = (building, floor, room)

    def room_name(self, room_id: str | None) -> str | None:
        place = self._rooms.get(room_id or "")
        return place[2].name if place is not None else None

    def crumbs(self, room_id: str | None) -> list[dict[str, Any]]:
        """hospital › building › floor › room, each a link into the twin."""
        if self._hospital is None:
            return []
        path: list[tuple[str, str, str]] = [("hospital", self._hospital.hospital_id, self._hospital.name)]
        place = self._rooms.get(room_id or "")
        if place is not None:
            building, floor, room = place
            path += [
                ("building", building.building_id, building.name),
                ("floor", floor.floor_id, floor.name),
                ("room", room.room_id, room.name),
            ]
        return [{"name": name, "href": f"/?place={noun}:{quote(id_)}"} for noun, id_, name in path]
