"""All layers of the product, in the order in which a map stacks them."""

from __future__ import annotations

from cases.reports import CASES
from grids.areas import AREA_NAMES, AREAS, CELLS
from grids.ground import GROUND
from layers.components import COMPONENTS

LAYERS = {layer.name: layer for layer in (GROUND, AREAS, AREA_NAMES, CELLS, COMPONENTS, CASES)}
