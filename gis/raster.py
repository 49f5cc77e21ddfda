"""Rasters in the city's system: a grid of square pixels, a kernel density on it, its colours, PNG and GeoTIFF.

Arrays are (height, width), row 0 in the north. A density is in events per km² *over the whole period counted*:
it is no rate per day and no probability. Points are moved to the middle of their pixel first, so a bandwidth
of fewer than about three pixels shows the pixels; less than one is refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import rasterio
import scipy.fft
from rasterio.transform import Affine

from gis.crs import crs_of
from gis.errors import Invalid

FloatArray = npt.NDArray[np.float64]
Kernel = Literal["gaussian", "quartic"]

NODATA = -9999.0  #: in GeoTIFF, for pixels that are NaN; zero is a value (no event near), not a gap
MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class RasterGrid:
    """Square pixels, north up: the west and north edge, how many, how large, in which system (metres)."""

    west: float
    north: float
    width: int
    height: int
    pixel_m: float
    srid: int

    @classmethod
    def over(cls, bounds: tuple[float, float, float, float], pixel_m: float, srid: int) -> RasterGrid:
        """The smallest grid over (min x, min y, max x, max y) whose edges are multiples of the pixel size.

        Grids of one pixel size therefore lie on each other. Invalid for an empty box, a pixel that is not
        positive, or more than MAX_PIXELS pixels.
        """
        sides = np.asarray(bounds, np.float64)
        if not (np.isfinite(sides).all() and sides[0] < sides[2] and sides[1] < sides[3] and pixel_m > 0):
            raise Invalid(f"no raster over {bounds}", f"范围 {bounds} 无法建立栅格", pixel_m=pixel_m)
        low, high = np.floor(sides[:2] / pixel_m), np.ceil(sides[2:] / pixel_m)
        width, height = (int(count) for count in high - low)
        if width * height > MAX_PIXELS:
            raise Invalid(
                f"a raster of {width} × {height} pixels is too large",
                f"{width} × {height} 像元的栅格过大",
                mend="use larger pixels or a smaller area",
                mend_zh="请增大像元或缩小范围",
            )
        return cls(float(low[0] * pixel_m), float(high[1] * pixel_m), width, height, pixel_m, srid)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(min x, min y, max x, max y)."""
        east = self.west + self.width * self.pixel_m
        return self.west, self.north - self.height * self.pixel_m, east, self.north

    @property
    def affine(self) -> Affine:
        """From (column, row) to (x, y) of a pixel's north-west corner."""
        return Affine(self.pixel_m, 0.0, self.west, 0.0, -self.pixel_m, self.north)


def kernel_density(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    grid: RasterGrid,
    bandwidth_m: float,
    weights: npt.ArrayLike | None = None,
    kernel: Kernel = "gaussian",
) -> FloatArray:
    """Events per km² around every pixel: each point spread by a kernel, by counting and one product of FFTs.

    x, y: points in the grid's system; those beyond its edge count as far as their kernel reaches in.
    weights: events per point, default 1. bandwidth_m: the standard deviation of the Gaussian (cut at 4), or the
    radius of the quartic (biweight; Silverman 1986, 4.2). The surface times the pixel's area adds up to the
    weight of the points whose whole kernel lies on the grid. Invalid for NaN, or a bandwidth below one pixel.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    weight = np.ones(x.shape) if weights is None else np.asarray(weights, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(weight).all()):
        raise Invalid("points of a density must have a place and a weight", "密度计算的点缺少位置或权重")
    spread = _kernel(bandwidth_m / grid.pixel_m, kernel)
    reach = len(spread) // 2
    rows, columns = grid.height + 2 * reach, grid.width + 2 * reach
    column = np.floor((x - grid.west) / grid.pixel_m) + reach
    row = np.floor((grid.north - y) / grid.pixel_m) + reach
    near = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    index = (row[near] * columns + column[near]).astype(np.int64)
    counts = np.bincount(index, weight[near], rows * columns).reshape(rows, columns)
    size = [scipy.fft.next_fast_len(length, real=True) for length in (rows, columns)]
    product = scipy.fft.rfft2(counts, size, workers=2) * scipy.fft.rfft2(spread, size, workers=2)
    full = scipy.fft.irfft2(product, size, workers=2)
    # no wrap-around in the part kept: it needs counts and kernel from inside the padded array only
    surface = full[2 * reach : 2 * reach + grid.height, 2 * reach : 2 * reach + grid.width]
    noise = 1e-12 * max(float(np.abs(weight).sum()), 1.0)  # what the FFT leaves where there is nothing
    surface = np.where(np.abs(surface) < noise, 0.0, surface)
    return np.asarray(surface * (1e6 / grid.pixel_m**2))


def _kernel(bandwidth_px: float, kernel: Kernel) -> FloatArray:
    """A square of odd size, centre in its middle, that adds up to one."""
    if not (np.isfinite(bandwidth_px) and bandwidth_px >= 1):
        raise Invalid(
            "the bandwidth must be at least one pixel",
            "带宽不得小于一个像元",
            mend="use smaller pixels or a larger bandwidth",
            mend_zh="请减小像元或增大带宽",
        )
    reach = int(np.ceil(bandwidth_px * (4 if kernel == "gaussian" else 1)))
    steps = np.arange(-reach, reach + 1) / bandwidth_px
    square = steps[:, None] ** 2 + steps[None, :] ** 2
    spread = np.exp(-square / 2) if kernel == "gaussian" else np.clip(1 - square, 0, None) ** 2
    return np.asarray(spread / spread.sum())


#: ColorBrewer YlOrRd (C. Brewer, Apache-2.0), which colour-blind readers can order: pale yellow to dark red
_STOPS = ((255, 255, 178), (254, 217, 118), (254, 178, 76), (253, 141, 60), (240, 59, 32), (189, 0, 38), (110, 0, 38))


def ramp(share: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """RGBA of shares 0 … 1 (any shape, + 4): transparent at 0 and for NaN, hardly seen below 5 %, then firm.

    Lightness falls steadily, so the order survives colour blindness and a grey printer. Above 1 counts as 1.
    """
    shares = np.nan_to_num(np.clip(np.asarray(share, np.float64), 0.0, 1.0), nan=0.0)
    stops, at = np.asarray(_STOPS, np.float64), np.linspace(0.0, 1.0, len(_STOPS))
    colours = [np.interp(shares, at, stops[:, band]) for band in range(3)]
    alpha = np.interp(shares, [0.0, 0.05, 0.3, 1.0], [0.0, 60.0, 190.0, 225.0])
    return np.asarray(np.rint(np.stack([*colours, alpha], axis=-1)), np.uint8)


def top_of_scale(surface: npt.ArrayLike) -> float:
    """The round value that gets the darkest colour: just above all but 0.2 % of what is not zero; 1 if all is.

    A single extreme pixel would otherwise pale the rest of the map; legends write "≥" at this value.
    """
    values = np.asarray(surface, np.float64)
    values = values[values > 0]
    if not values.size:
        return 1.0
    high = float(np.quantile(values, 0.998))
    scale = 10.0 ** np.floor(np.log10(high))
    return float(next(step * scale for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12) if step * scale >= high))


def colour(surface: npt.ArrayLike, top: float | None = None) -> npt.NDArray[np.uint8]:
    """A surface as (height, width, 4) bytes by ``ramp``; ``top`` (default: the maximum) is the darkest value."""
    values = np.asarray(surface, np.float64)
    highest = top if top is not None else float(np.nanmax(values, initial=0.0))
    return ramp(values / highest if highest > 0 else np.zeros_like(values))


def png(pixels: npt.NDArray[np.uint8], level: int = 9) -> bytes:
    """An RGBA image (height, width, 4) as the bytes of a PNG file; the same pixels give the same bytes.

    ``level`` of compression: 9 for files that stay, less for pictures that are wanted at once.
    """
    height, width, bands = pixels.shape
    if bands != 4 or pixels.dtype != np.uint8:
        raise Invalid("a PNG here is made of 4 bytes per pixel", "PNG 须为每像元 4 字节")

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = np.zeros((height, 1 + width * 4), np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, width * 4)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(lines.tobytes(), level)),
            chunk(b"IEND", b""),
        )
    )


def write_geotiff(
    path: Path, surface: npt.ArrayLike, grid: RasterGrid, tags: Mapping[str, object], *, cloud: bool = True
) -> None:
    """The surface as a GeoTIFF of 32-bit floats, by default cloud-optimised (tiles, overviews).

    NaN becomes NODATA. tags: what a reader must know, as text: bandwidth_m, kernel, filter, period …; ``unit`` and
    ``title`` are the band's as well. The file appears complete or not at all. Invalid if the surface has another
    shape than the grid.
    """
    values = np.asarray(surface, np.float32)
    if values.shape != (grid.height, grid.width):
        raise Invalid(f"surface {values.shape} is not of the grid", f"数组 {values.shape} 与栅格大小不符")
    extra = {"driver": "COG"} if cloud else {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256}
    part = path.with_name(f".{path.name}.part.tif")
    try:
        with rasterio.open(
            part,
            "w",
            width=grid.width,
            height=grid.height,
            count=1,
            dtype="float32",
            crs=crs_of(grid.srid).to_wkt(),
            transform=grid.affine,
            nodata=NODATA,
            compress="deflate",
            **extra,
        ) as file:
            file.write(np.where(np.isnan(values), np.float32(NODATA), values), 1)
            if "unit" in tags:
                file.units = (str(tags["unit"]),)
            if "title" in tags:
                file.set_band_description(1, str(tags["title"]))
            file.update_tags(**{name: str(value) for name, value in tags.items()})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
