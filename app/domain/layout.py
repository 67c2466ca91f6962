"""The sizes that a plan chooses: of its tiles, of a base, of a picture at a model's own."""

from __future__ import annotations

import itertools
import math

from app.domain.card import ModelCard
from app.domain.tiling import axis_starts

NOMINAL_WORKERS = 8
"""Tiles are sized for this many workers, whatever number there is: it may not change a pixel."""
LEAST_OVERLAP = 5
"""Latents. A tile's own edge shows in one or two of them, however large the tile is."""
LEAST_BASE = 8
"""Latents. No model was trained on anything thinner."""


def choose_tile(
    card: ModelCard, height: int, width: int, *, wraps_rows: bool, wraps_columns: bool
) -> int:
    """Edge in pixels of the tiles that render a canvas of *height* x *width* pixels soonest.

    Tried is every size whose cost the card knows, with the fewest tiles that overlap by
    default: more tiles of the same size never take fewer rounds. Of equal rounds the least work
    wins, then the larger tile.
    """
    costs = card.tile_costs or ((card.native_size, 1.0),)

    def rank(option: tuple[int, float]) -> tuple[float, float, int]:
        tile, cost = option
        overlap = default_overlap(card, tile)
        counts = (
            len(axis_starts(length, min(tile, length), overlap, wraps=wraps and tile < length))
            for length, wraps in ((height, wraps_rows), (width, wraps_columns))
        )
        tiles = math.prod(counts)
        return math.ceil(tiles / NOMINAL_WORKERS) * cost, tiles * cost, -tile

    return min(costs, key=rank)[0]


def default_overlap(card: ModelCard, tile: int) -> int:
    """A quarter of *tile*, but no fewer latents than two tiles need to come together; in pixels on
    the grid that tiles lie on.
    """
    step = card.latent_scale * card.alignment
    quarter = tile // 4 // step * step
    least = -(-LEAST_OVERLAP // card.alignment) * step
    return max(quarter, min(least, tile // 2 // step * step))


def native_sides(card: ModelCard, height: int, width: int) -> tuple[int, int]:
    """Sides of the model's native area with the aspect of *height* x *width*, in whole latents."""
    factor = card.native_size / math.sqrt(height * width)
    rows, columns = (max(1, round(side * factor / card.latent_scale)) for side in (height, width))
    return rows * card.latent_scale, columns * card.latent_scale


def base_sides(card: ModelCard, height: int, width: int) -> tuple[int, int]:
    """Sides in latents of the base picture for a canvas of *height* x *width* pixels.

    Of the sides that halve evenly through the network, those whose aspect is the canvas's and
    whose area is the one the model was trained on. A stretched base shows in everything that is
    painted over it, another area only in how much fits into it: it counts half.
    """
    native, aspect = card.native_size / card.latent_scale, height / width
    ideal = (native * math.sqrt(aspect), native / math.sqrt(aspect))
    options = [
        [max(LEAST_BASE, (int(side / card.halving) + more) * card.halving) for more in (0, 1)]
        for side in ideal
    ]

    def distance(sides: tuple[int, ...]) -> float:
        rows, columns = sides
        stretched = abs(math.log(rows / columns / aspect))
        return stretched + abs(math.log(rows * columns / native**2)) / 2

    rows, columns = min(itertools.product(*options), key=distance)
    return rows, columns
