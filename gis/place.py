"""Place: the only form in which a location crosses a module border."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gis.crs import BD09, GCJ02, fits, number_bounds, transform
from gis.errors import UnfitCoordinates

#: PROJ sets a transformation up anew in each thread (a sixth of a second), and a server's threads come and go.
_one_thread = ThreadPoolExecutor(1, "place")


@dataclass(frozen=True, slots=True)
class Place:
    """A point and the system its numbers are in; x = east or longitude, whatever the register says.

    srid: an EPSG number, or gis.crs.GCJ02 / gis.crs.BD09. Numbers that are not finite, or that cannot be
    meant in that system (over gis.crs.MARGIN_DEG degrees beyond its area of use), raise UnfitCoordinates:
    a place is refused, never mended; gis.crs.diagnose can tell how else it might be read.
    """

    x: float
    y: float
    srid: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise UnfitCoordinates(
                f"a place needs two finite numbers, not ({self.x}, {self.y})",
                f"位置须有两个有限的数值，而不是（{self.x}，{self.y}）",
                mend="give two numbers: x = east or longitude, then y",
                mend_zh="请给出两个数值：先 x（东或经度），后 y",
                x=self.x,
                y=self.y,
                srid=self.srid,
            )
        if not bool(fits(self.x, self.y, self.srid)):
            low_x, low_y, high_x, high_y = number_bounds(self.srid)
            fit = f"x {low_x:.10g} … {high_x:.10g}, y {low_y:.10g} … {high_y:.10g}"
            name = {GCJ02: "GCJ-02", BD09: "BD-09"}.get(self.srid, f"EPSG:{self.srid}")
            raise UnfitCoordinates(
                f"({self.x:.10g}, {self.y:.10g}) cannot be a place in {name}: it holds {fit}",
                f"（{self.x:.10g}，{self.y:.10g}）不可能是 {name} 中的位置，其范围为 {fit}",
                mend="check the axis order (x = east or longitude), the unit and the coordinate system",
                mend_zh="请检查坐标轴顺序（x 为东或经度）、单位和坐标系",
                x=self.x,
                y=self.y,
                srid=self.srid,
            )

    def to(self, srid: int) -> Place:
        """The same point in another system; UnfitCoordinates if that system does not reach there."""
        if srid == self.srid:
            return self
        x, y = _one_thread.submit(transform, self.x, self.y, self.srid, srid).result()
        return Place(float(x), float(y), srid)
