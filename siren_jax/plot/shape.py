"""Shaded pictures of meshes and point clouds, drawn with a depth buffer."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy import ndarray

from siren_jax.shapes.scanlines import hits

FRONT, BACK = (0.80, 0.82, 0.86), (0.84, 0.37, 0.0)  # the side that normals point to, and the other
LIGHT = (-0.4, 0.5, 0.77)  # direction to the light: right, up, towards the eye
VIEWS = ((-60.0, 25.0), (120.0, -15.0))  # azimuth and elevation of the eye, in degrees
CREASE = 0.8  # least cosine between the normals of a triangle and of its corner; below it, the corner is shaded flat
FINER = 2  # a pixel is the mean of this number squared of samples
SIDE = 440  # side of a panel in pixels


class Canvas:
    """A square picture of a shape from one side, in parallel projection with z upwards.

    Args:
        view: azimuth about z from x and elevation of the eye, in degrees.
        centre: the point in the middle.
        radius: distance from the centre to the edge of the picture.
        side: side of the picture in pixels.
    """

    def __init__(self, view: tuple[float, float], centre: Float[ndarray, "3"], radius: float, side: int):
        azimuth, elevation = np.radians(view)
        toward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
        self._axes = np.stack([right, np.cross(toward, right), toward])
        self._side = FINER * side
        self._centre, self._scale = centre, self._side / (2 * radius)
        self._depth = np.full(self._side**2, -np.inf, np.float32)
        self._color = np.ones((self._side**2, 3), np.float32)

    def draw_mesh(
        self,
        vertices: Float[ndarray, "v 3"],
        faces: Int[ndarray, "f 3"],
        normals: Float[ndarray, "v 3"],
        colors: Float[ndarray, "v 3"] | None = None,
    ) -> None:
        """Draws triangles, with colours of the vertices or, by default, one colour for each side."""
        seen, turned = self._project(vertices), normals @ self._axes.T
        a, b, c = (seen[faces[:, corner]] for corner in range(3))
        across = np.cross(c - a, b - a) * [1, -1, 1]  # rows run downwards
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
        front = across[:, 2] > 0
        for hit in hits(seen[faces][..., 1::-1] - 0.5, self._side):  # pixels have their centres at halves
            corner = faces[hit.triangle]
            sides = np.where(front[hit.triangle, None], np.array(FRONT), np.array(BACK))
            color = sides if colors is None else _between(hit.weights, colors[corner])
            depth = _between(hit.weights, seen[corner, 2:])[:, 0]
            flat, round_ = across[hit.triangle, None], turned[corner]
            normal = np.where(np.sum(flat * round_, axis=2, keepdims=True) < CREASE, flat, round_)
            self._put(hit.row, hit.column, depth, _between(hit.weights, normal), color)

    def draw_points(self, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"], radius: float) -> None:
        """Draws points as discs of a radius."""
        seen, turned = self._project(points), normals @ self._axes.T
        color = np.where(turned[:, 2:] >= 0, np.array(FRONT), np.array(BACK))
        reach = int(np.clip(round(radius * self._scale), 1, 16))
        column, row = np.floor(seen[:, :2]).astype(np.int64).T
        square = np.argwhere(np.ones((2 * reach + 1,) * 2)) - reach
        for down, along in square[np.sum(square**2, axis=1) <= reach * (reach + 1)]:
            self._put(row + down, column + along, seen[:, 2], turned, color)

    @property
    def picture(self) -> Float[ndarray, "side side 3"]:
        side = self._side // FINER
        return self._color.reshape(side, FINER, side, FINER, 3).mean(axis=(1, 3))

    def _project(self, points: ndarray) -> Float[ndarray, "n 3"]:
        """Column, row and depth, in fine pixels."""
        right, up, toward = (self._axes @ (np.asarray(points, np.float64) - self._centre).T) * self._scale
        return np.stack([right + self._side / 2, self._side / 2 - up, toward], axis=1)

    def _put(self, row: ndarray, column: ndarray, depth: ndarray, normals: ndarray, color: ndarray) -> None:
        """Draws the points that are nearer than those drawn before."""
        within = np.flatnonzero((column >= 0) & (column < self._side) & (row >= 0) & (row < self._side))
        within = within[np.argsort(depth[within], kind="stable")]  # where several fall on one pixel, the last is kept
        pixel = row[within] * self._side + column[within]
        nearer = depth[within] > self._depth[pixel]
        pixel, within = pixel[nearer], within[nearer]
        self._depth[pixel] = depth[within]
        normal = normals[within]
        normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        normal = normal * np.where(normal[:, 2:] < 0, -1, 1)  # sides are lit as if they faced the eye
        lit = 0.3 + 0.7 * (0.5 + 0.5 * normal @ (np.array(LIGHT) / np.linalg.norm(LIGHT))) ** 1.5  # shadows stay grey
        self._color[pixel] = color[within] * lit[:, None]


def shaded(
    vertices: Float[ndarray, "v 3"],
    faces: Int[ndarray, "f 3"] | None,
    normals: Float[ndarray, "v 3"],
    *,
    view: tuple[float, float] = VIEWS[0],
    side: int = 1024,
) -> Float[ndarray, "side side 3"]:
    """A mesh from one side, colours in [0, 1] on white; the side that its normals point away from is orange.

    Args:
        vertices: in any units; z is up.
        faces: three vertices each, counterclockwise as seen from outside; None to draw the vertices as points.
        normals: normals of the vertices.
        view: azimuth about z from x and elevation of the eye, in degrees.
        side: side of the picture in pixels.
    """
    centre, radius = _around(vertices if faces is None else vertices[faces.ravel()])
    canvas = Canvas(view, centre, radius, side)
    if faces is None:
        canvas.draw_points(vertices, normals, 2 * radius / np.sqrt(len(vertices)))
    else:
        canvas.draw_mesh(vertices, faces, normals)
    return canvas.picture


def shape_comparison(
    truth: tuple[ndarray, ndarray | None, ndarray],
    prediction: tuple[ndarray, ndarray, ndarray],
    error: Float[ndarray, "v"],
    *,
    title: str = "",
) -> Figure:
    """A shape from two sides: the truth, the prediction, and the prediction's distance to the truth.

    Args:
        truth: vertices, triangles and vertex normals; or points, None and their normals.
        prediction: vertices, triangles and vertex normals.
        error: distance of the prediction's vertices, in percent of the diagonal of the truth's box.
        title: title of the figure, one line.
    """
    import matplotlib

    centre, radius = _around(truth[0])
    bound = max(1e-9, float(np.percentile(error, 99.5))) if len(error) else 1.0
    colors = matplotlib.colormaps["viridis"](np.clip(error / bound, 0, 1))[:, :3]
    shown = []
    for view in VIEWS:
        pictures = []
        for vertices, faces, normals, color in ((*truth, None), (*prediction, None), (*prediction, colors)):
            canvas = Canvas(view, centre, radius, SIDE)
            if faces is None:
                canvas.draw_points(vertices, normals, 2 * radius / np.sqrt(len(vertices)))
            elif len(faces):
                canvas.draw_mesh(vertices, faces, normals, color)
            pictures.append(canvas.picture)
        used = np.flatnonzero(np.any(np.stack(pictures) < 1, axis=(0, 2, 3)))
        shown.append([picture[max(0, used[0] - 8) : used[-1] + 9] for picture in pictures])
    heights = [len(pictures[0]) / SIDE for pictures in shown]
    figure = Figure(figsize=(11.4, 3.5 * sum(heights) + 0.9), layout="constrained")
    axes = figure.subplots(len(VIEWS), 3, squeeze=False, height_ratios=heights)
    for axis, picture in zip(axes.flat, [picture for pictures in shown for picture in pictures], strict=True):
        axis.imshow(picture)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, name in zip(axes[0], ("ground truth", "prediction", "distance to the truth"), strict=True):
        axis.set_title(name)
    scale = ScalarMappable(Normalize(0, bound), "viridis")
    figure.colorbar(scale, ax=list(axes[:, 2]), label="% of the box's diagonal", shrink=0.7)
    figure.suptitle(title)
    return figure


def _around(points: ndarray) -> tuple[ndarray, float]:
    """Centre of the points' box, and a radius around it that shows all points from every side."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2, float(np.linalg.norm(points - (low + high) / 2, axis=1).max()) * 1.03 or 1.0


def _between(weights: Float[ndarray, "n 3"], corners: Float[ndarray, "n 3 m"]) -> Float[ndarray, "n m"]:
    """Quantities at points of triangles, interpolated from the corners."""
    return np.einsum("nc,ncm->nm", weights, corners)
