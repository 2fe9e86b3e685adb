"""What the air of a room is like, as a function of scaled time. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from wardtwin_board.signals import jitter


@dataclass(frozen=True)
class Climate:
    """voc_raw: the SGP40's raw signal, which falls as volatile compounds rise (about 30000 in clean air)."""

    temperature_c: float = 22.0
    relative_humidity_pct: float = 45.0
    pressure_hpa: float = 1013.0
    voc_raw: int = 30000
    co2_ppm: float = 600.0
    pm1_ug_m3: float = 3.0
    pm2_5_ug_m3: float = 5.0
    pm10_ug_m3: float = 7.0


RoomSignal = Callable[[float], Climate]


def steady(climate: Climate) -> RoomSignal:
    return lambda _t_s: climate


class RoomClimate:
    """A room in use: people come and go every half hour or so, temperature and CO2 follow them."""

    def __init__(self, seed: int = 0, base: Climate | None = None, period_s: float = 1800.0) -> None:
        self._base = base or Climate()
        self._seed = seed
        self._period_s = period_s

    def __call__(self, t_s: float) -> Climate:
        base, n = self._base, int(t_s / 2)
        people = 0.5 + 0.5 * math.sin(2 * math.pi * t_s / self._period_s + self._seed * 1.7)
        dust = max(0.0, 1 + 0.1 * jitter(self._seed + 3, n) + 0.6 * people)
        return Climate(
            temperature_c=base.temperature_c + 0.9 * people + 0.03 * jitter(self._seed, n),
            relative_humidity_pct=base.relative_humidity_pct + 4 * people + 0.2 * jitter(self._seed + 1, n),
            pressure_hpa=base.pressure_hpa + 1.5 * math.sin(t_s / 5000) + 0.04 * jitter(self._seed + 2, n),
            voc_raw=int(base.voc_raw - 900 * people + 12 * jitter(self._seed + 4, n)),
            co2_ppm=base.co2_ppm + 480 * people + 6 * jitter(self._seed + 5, n),
            pm1_ug_m3=base.pm1_ug_m3 * dust,
            pm2_5_ug_m3=base.pm2_5_ug_m3 * dust,
            pm10_ug_m3=base.pm10_ug_m3 * dust,
        )
