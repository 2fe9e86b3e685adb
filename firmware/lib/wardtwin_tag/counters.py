"""Numbers that never come twice, kept in a store (see `energy.EnergyCounter` for its interface)."""

RESERVED_AT_ONCE = 1000


def spend_boot_id(store):
    """Return this boot's id, from 1, already written: a boot that dies at once still spent its id."""
    boot_id = store.get("boot", 0) + 1
    store.set("boot", boot_id)
    store.commit()
    return boot_id


class AdvertCounter:
    """BTHome's counter: never back. Reserved in blocks, so that NVS is written once in RESERVED_AT_ONCE adverts."""

    def __init__(self, store):
        self._store = store
        self._next = max(1, store.get("adv", 1))
        self._limit = self._next

    def take(self):
        if self._next >= self._limit:
            self._limit = self._next + RESERVED_AT_ONCE
            self._store.set("adv", self._limit)
            self._store.commit()
        self._next += 1
        return self._next - 1
