from wardtwin_edge.locator import FOR_S, LOST_S, NearestBeacon, Sighting


def sighting(room: str, rssi: float, at: float) -> Sighting:
    return Sighting("tag", f"beacon-{room}", "tag", f"beacon-{room}", room, rssi, at)


def walk(locator: NearestBeacon, *seen: tuple[str, float, float]) -> list[tuple[str | None, float]]:
    found = [locator.see(sighting(*one)) for one in seen]
    return [(placement.room_id, placement.since) for placement in found if placement]


def test_the_first_sighting_places_a_tag() -> None:
    assert walk(NearestBeacon(), ("a", -70, 10)) == [("a", 10)]


def test_a_stronger_room_wins_only_when_it_stays_stronger() -> None:
    locator = NearestBeacon()
    rows = [("a", -60, 0.0)]
    for step in range(1, 12):
        rows += [("a", -75, step * 5.0), ("b", -55, step * 5.0)]
    (first, second) = walk(locator, *rows)
    assert first == ("a", 0.0)
    assert second[0] == "b"
    assert 0 < second[1] <= 30.0


def test_one_outlier_moves_nothing() -> None:
    rows = []
    for step in range(10):
        rows += [("a", -60, step * 5.0), ("b", -90 if step != 5 else -30, step * 5.0)]
    assert walk(NearestBeacon(), *rows) == [("a", 0.0)]


def test_rooms_that_are_nearly_as_strong_do_not_flap() -> None:
    rows = []
    for step in range(40):
        rows += [("a", -60 - step % 3, step * 5.0), ("b", -59 - (step + 1) % 3, step * 5.0)]
    assert len(walk(NearestBeacon(), *rows)) == 1


def test_the_old_room_is_left_when_its_beacon_is_heard_no_more() -> None:
    locator = NearestBeacon()
    walk(locator, ("a", -60, 0))
    assert walk(locator, ("b", -80, 200)) == [("b", 200)]


def test_a_tag_never_sighted_is_in_its_home_room_and_says_so() -> None:
    locator = NearestBeacon()
    placement = locator.review("tag", "home", 50)
    assert placement is not None
    assert (placement.room_id, placement.rssi_dbm) == ("home", None)
    assert locator.review("tag", "home", 60) is None
    assert locator.review("other", None, 60) is None


def test_a_tag_not_sighted_for_long_is_nowhere_known_since_its_last_sighting() -> None:
    locator = NearestBeacon()
    walk(locator, ("a", -60, 100))
    assert locator.review("tag", "home", 100 + LOST_S) is None
    placement = locator.review("tag", "home", 101 + LOST_S)
    assert placement is not None
    assert (placement.room_id, placement.since) == (None, 100)
    assert walk(locator, ("a", -60, 200 + LOST_S)) == [("a", 200 + LOST_S)]


def test_sightings_out_of_a_tag_s_queue_do_not_move_the_present() -> None:
    locator = NearestBeacon()
    walk(locator, ("a", -60, 10_000))
    assert walk(locator, *[("b", -30, at) for at in range(0, 500, 10)]) == []


def test_a_restart_remembers_the_room() -> None:
    locator, again = NearestBeacon(), NearestBeacon()
    walk(locator, ("a", -60, 0))
    again.recall("tag", locator.memory("tag"))
    assert again.room_of("tag") == "a"
    assert walk(again, ("a", -60, FOR_S)) == []
