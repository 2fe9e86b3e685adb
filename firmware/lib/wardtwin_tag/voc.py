"""A VOC index from 1 to 500, in which 100 is the room's usual air. Not Sensirion's Gas Index Algorithm, and not comparable with it.

The SGP40's raw signal falls as VOCs rise, by an amount that differs from chip to chip. So each tag learns its room: the
mean of the raw signal and its mean absolute deviation, over about a day. The index is 100 at the mean and 100 more for
each SCALE deviations below it. While the air is far from usual the baseline learns slower, so that a long event is not
taken for the new usual. Known weakness: after a move or a change of the room's usual air it needs a day.
"""

_BATCH = 60
_DAY_BATCHES = 1440
_SCALE = 4
_LEAST_DEVIATION = 20.0
_FAR = 200


class VocIndex:
    """update() once a second. The baseline moves once in 60 samples: with 24-bit floats smaller steps would be lost."""

    def __init__(self):
        self._mean = 0.0
        self._deviation = 3 * _LEAST_DEVIATION
        self._batches = 0
        self._sum = 0
        self._count = 0

    def update(self, raw):
        """raw: SRAW_VOC, u16. Return the index, None while it is learning (the first minute)."""
        self._sum += raw
        self._count += 1
        index = self._index(raw) if self._batches else None
        if self._count == _BATCH:
            self._learn(self._sum / _BATCH, index)
            self._sum = self._count = 0
        return index

    def _index(self, raw):
        below = (self._mean - raw) / (_SCALE * max(self._deviation, _LEAST_DEVIATION))
        return int(max(1, min(500, 100 + 100 * below)))

    def _learn(self, mean, index):
        self._batches += 1
        if self._batches == 1:
            self._mean = mean
            return
        # an average that begins fast and settles at one day
        share = 1 / min(self._batches, _DAY_BATCHES)
        if index is not None and index > _FAR:
            share /= 10
        self._deviation += (abs(mean - self._mean) - self._deviation) * share
        self._mean += (mean - self._mean) * share
