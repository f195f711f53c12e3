"""Whether a place lies inside a fence, and when it entered and left."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import checked_number
from ringmill.pipeline.place import caller, wrong

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the ellipsoid WGS 84, (2a + b) / 3."""
CORNERS_MAX = 1024


class Fenced(State):
    """1 byte, 8 with its padding."""

    inside: bool = False


class Crossing(NamedTuple):
    """entered: inside now, and not before, as at the key's first event inside. left: the other way."""

    inside: bool
    entered: bool
    left: bool


def cross(state: Fenced, inside: bool) -> Crossing:
    """Notes where it is now."""
    before = state.inside
    state.inside = inside
    return Crossing(inside, inside and not before, before and not inside)


def check_place(latitude: float, longitude: float) -> None:
    """Fails an event that is nowhere on earth."""
    if abs(latitude) > 90.0 or abs(longitude) > 180.0:
        raise ValueError("a latitude beyond 90 or a longitude beyond 180 degrees")


def distance_m(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Metres along the great circle, by the haversine formula."""
    up = math.sin(math.radians(other_latitude - latitude) / 2.0)
    along = math.sin(math.radians(other_longitude - longitude) / 2.0)
    share = up * up + math.cos(math.radians(latitude)) * math.cos(math.radians(other_latitude)) * along * along
    return 2.0 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, share)))


@operator
def _geofence_circle(
    state: Fenced,
    event: Event,
    latitude: Input,
    longitude: Input,
    center_latitude: float,
    center_longitude: float,
    radius_m: float,
) -> Crossing:
    if math.isnan(latitude) or math.isnan(longitude):
        return Crossing(state.inside, False, False)
    check_place(latitude, longitude)
    return cross(state, distance_m(latitude, longitude, center_latitude, center_longitude) <= radius_m)


def geofence(
    latitude: str,
    longitude: str,
    *,
    center: tuple[float, float] | None = None,
    radius_m: float | None = None,
    polygon: Sequence[tuple[float, float]] | None = None,
) -> Step:
    """Whether the key's place is inside a fence, and whether it entered or left it with this event.

    The fence is a circle, center=(latitude, longitude) with radius_m along the great circle on a sphere of the mean
    radius, its edge included; or a polygon of 3 to 1,024 corners (latitude, longitude), straight in latitude and
    longitude, not across the 180th meridian, of which the edge is neither in nor out. Degrees. A missing coordinate
    changes nothing, one that is nowhere is rejected. Outputs inside, entered, left. State: 1 byte. Does not merge.
    Source: Sinnott, "Virtues of the haversine", Sky and Telescope 68 (1984); Shimrat, "Algorithm 112: position of point
    relative to polygon", CACM 5 (1962).
    """
    place = caller()
    if polygon is None and center is not None and radius_m is not None:
        corners = _checked_corners((center,))
        radius = checked_number("geofence", "radius_m", radius_m, above=0.0, at_most=math.pi * EARTH_RADIUS_M)
        return _geofence_circle(
            latitude, longitude, center_latitude=corners[0][0], center_longitude=corners[0][1], radius_m=radius
        )
    if polygon is None or center is not None or radius_m is not None:
        raise wrong(place, "geofence() takes center and radius_m, or polygon: write one, as in center=(52.5, 13.4)")
    corners = _checked_corners(polygon)
    if not 3 <= len(corners) <= CORNERS_MAX:
        raise wrong(place, f"geofence(polygon=...) has {len(corners)} corners: write 3 to {CORNERS_MAX:,}")
    if corners[0] == corners[-1]:
        corners = corners[:-1]
    return _of_polygon(corners, latitude, longitude)


def _checked_corners(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    checked = []
    for corner in corners:
        if not isinstance(corner, (tuple, list)) or len(corner) != 2:
            raise wrong(caller(), f"geofence: {corner!r:.60} is no place: write (latitude, longitude)")
        checked.append(
            (
                checked_number("geofence", "latitude", corner[0], at_least=-90.0, at_most=90.0),
                checked_number("geofence", "longitude", corner[1], at_least=-180.0, at_most=180.0),
            )
        )
    return checked


def _of_polygon(corners: list[tuple[float, float]], latitude: str, longitude: str) -> Step:
    count = len(corners)
    table = np.array(corners, np.float64)
    table.flags.writeable = False

    def is_inside(latitude: float, longitude: float) -> bool:
        inside = False
        for corner in range(count):
            following = corner + 1 if corner + 1 < count else 0
            y, x, next_y, next_x = table[corner, 0], table[corner, 1], table[following, 0], table[following, 1]
            if (y > latitude) != (next_y > latitude) and (
                longitude < (next_x - x) * ((latitude - y) / (next_y - y)) + x
            ):
                inside = not inside
        return inside

    @operator
    def _geofence(state: Fenced, event: Event, latitude: Input, longitude: Input) -> Crossing:
        if math.isnan(latitude) or math.isnan(longitude):
            return Crossing(state.inside, False, False)
        check_place(latitude, longitude)
        return cross(state, is_inside(latitude, longitude))

    return _geofence(latitude, longitude)
