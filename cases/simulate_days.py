"""The days of a simulated year: free days, weather, and how likely what is on each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cases.worktime import WorkCalendar
from gis.errors import Invalid

Floats = NDArray[np.float64]


class Days:
    """The days of the simulated period and their weather, free days and week days."""

    def __init__(self, profile: Mapping[str, Any], calendar: WorkCalendar, rng: np.random.Generator) -> None:
        plan = profile["simulation"]["reports"]
        self.zone = profile["timezone"]
        self.day = pd.date_range(plan["from_on"], plan["to_on"], freq="D")
        self.month = self.day.month.to_numpy() - 1
        opens = calendar.periods()["open_at"].dt.tz_convert(self.zone).dt.tz_localize(None).dt.normalize()
        works = self.day.isin(opens)
        self.weekend = ~works & (self.day.day_of_week.to_numpy() >= 5)
        self.holiday = ~works & (self.day.day_of_week.to_numpy() < 5)
        near = pd.Series(self.holiday).rolling(5, center=True, min_periods=1).max().to_numpy() > 0
        self.holiday |= self.weekend & near
        self.weekend &= ~self.holiday
        wet = rng.gamma(0.45, 1.6, len(self.day)) * np.asarray(profile["simulation"]["season"]["rain"])[self.month]
        self.wet = wet / wet.mean()
        self.snow = np.where(self.day.isin(pd.to_datetime(plan["snow_days"])), 1.0, 0.0)
        self.swing = rng.lognormal(0, 0.08, len(self.day))

    def weights(self, season: str, table: Mapping[str, Any]) -> Floats:
        """How likely a report of this season falls on each day; adds up to 1."""
        if season not in table:
            raise Invalid(f"city.toml has no season {season!r}.", f"city.toml 中没有季节类型 {season!r}。")
        weight = np.asarray(table[season], dtype=np.float64)[self.month] * self.swing
        if season == "rain":
            weight = weight * (0.35 + 0.65 * np.sqrt(self.wet))
        elif season == "storm":
            weight = weight * (0.3 + self.wet)
        elif season == "flood":
            weight = weight * (0.03 + self.wet**1.7)
        elif season == "snow":
            near = np.convolve(self.snow, [0.1, 1.0, 0.5, 0.15], mode="full")[1 : len(self.snow) + 1]
            weight = weight * (near + 1e-4)
        return np.asarray(weight / weight.sum())
