"""All layers of the product, in the order in which a map stacks them."""

from __future__ import annotations

from cases.desk import CASES
from grids.areas import AREAS, CELLS
from grids.ground import GROUND
from layers.components import COMPONENTS

LAYERS = {layer.name: layer for layer in (GROUND, AREAS, CELLS, COMPONENTS, CASES)}
