"""Meshes, level sets and surfaces: counted, measured and compared with closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.measure
from flax import nnx
from scipy.spatial import cKDTree

from experiments.solids import SOLIDS, sample
from siren_jax import SIREN, Frame, InputError, NeuralField, load, metrics, recipes
from siren_jax.fitting.objectives import signed_distance
from siren_jax.plot import shape_comparison
from siren_jax.shapes import Mesh, Placement, Reference, Surface, SurfaceDataset, occupancy
from siren_jax.shapes.distance import Nearest, distance_to_triangle
from siren_jax.shapes.level_set import extract
from siren_jax.shapes.mesh import unit
from siren_jax.shapes.orientation import agreeing_triangles, estimated_normals, outwardness
from siren_jax.shapes.placement import place

SPHERE, TORUS = SOLIDS["sphere"].distance, SOLIDS["torus"].distance


@pytest.fixture(scope="module")
def ball() -> Mesh:
    """A sphere of the radius 0.8."""
    return extract(SPHERE, resolution=32)


@pytest.fixture(scope="module")
def ring() -> Mesh:
    """A torus of the radii 0.6 and 0.25."""
    return extract(TORUS, resolution=32)


def waves(points):
    """A field with many surfaces that leave the cube, and a slope of up to 17."""
    return np.sin(9 * points[:, 0]) + np.sin(8 * points[:, 1] + 1) + np.sin(7 * points[:, 2] + 2) - 0.3


# Shifted, so that no node lies on the surface: there the two place their vertices differently.
@pytest.mark.parametrize("field", [lambda x: SPHERE(x + 0.013), lambda x: TORUS(x + 0.007), waves])
@pytest.mark.parametrize("resolution", [16, 40])
def test_extraction_near_the_surface_equals_marching_cubes_on_the_whole_grid(field, resolution):
    mesh = extract(field, resolution=resolution)
    nodes = np.linspace(-1, 1, resolution + 1, dtype=np.float32)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = field(grid).astype(np.float32).reshape((resolution + 1,) * 3)
    vertices, faces, *_ = skimage.measure.marching_cubes(values, 0.0)
    assert (len(mesh.vertices), len(mesh.faces)) == (len(vertices), len(faces))
    ours, theirs = cKDTree(mesh.vertices), cKDTree(vertices * 2 / resolution - 1)
    # A value at a node is moved away from zero, so that vertices are a thousandth of a cell or more away from nodes. On
    # an edge along the surface, one in a thousand, that moves a vertex further than on others.
    for one, other in ((ours, theirs), (theirs, ours)):
        distance = one.query(other.data)[0] * resolution / 2  # in cells
        assert np.quantile(distance, 0.999) < 0.01
        assert distance.max() < 0.5


@pytest.mark.parametrize(("name", "parts"), [("sphere", 1), ("torus", 1), ("box", 1)])
def test_a_surface_across_many_blocks_is_closed_and_has_its_euler_characteristic(name, parts):
    mesh = extract(SOLIDS[name].distance, resolution=48)
    assert mesh.is_closed
    assert mesh.open_edges == 0
    assert mesh.count_parts() == parts
    assert mesh.euler_characteristic == SOLIDS[name].euler_characteristic


def test_two_spheres_are_two_parts():
    mesh = extract(lambda x: np.minimum(SPHERE(2 * x + 0.9), SPHERE(2.1 * x - 1)), resolution=40)
    assert (mesh.count_parts(), mesh.euler_characteristic) == (2, 4)


def test_the_vertices_approach_the_surface_with_the_square_of_the_cells():
    error = [np.abs(SPHERE(extract(SPHERE, resolution=n).vertices)).max() for n in (16, 32, 64)]
    # Linear interpolation of a curvature of 1/r: h²/(8 r), and h²/8·2/r where two curvatures add up on a diagonal.
    assert all(e < (2 / n) ** 2 / (4 * 0.8) for e, n in zip(error, (16, 32, 64), strict=True))
    assert np.all(np.divide(error[:-1], error[1:]) > 3)


def test_triangles_face_outwards_and_enclose_the_volume(ball, ring):
    # Inscribed polyhedra: a share of about (h/r)² is missing.
    assert np.isclose(ball.volume, 4 / 3 * np.pi * 0.8**3, rtol=(2 / 32 / 0.8) ** 2)
    assert np.isclose(ring.volume, 2 * np.pi**2 * 0.6 * 0.25**2, rtol=(2 / 32 / 0.25) ** 2)
    assert np.sum(ball.face_normals * unit(ball.corners.mean(axis=1)), axis=1).min() > 0.95
    assert np.sum(ball.vertex_normals * unit(ball.vertices), axis=1).min() > 0.98


def test_a_field_of_one_sign_has_no_surface():
    mesh = extract(lambda x: np.full(len(x), 0.5), resolution=16)
    assert (mesh.vertices.shape, mesh.faces.shape, mesh.count_parts(), mesh.is_closed) == ((0, 3), (0, 3), 0, False)


@pytest.mark.parametrize("resolution", [0, 8, 100, 4096])
def test_a_resolution_that_is_not_whole_blocks_is_refused(resolution):
    with pytest.raises(InputError, match="a multiple of 8 from 16 to 2048"):
        extract(SPHERE, resolution=resolution)


def test_a_field_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="not finite"):
        extract(lambda x: np.where(x[:, 0] > 0, np.nan, 1.0), resolution=16)


def test_samples_of_a_mesh_are_spread_evenly_over_its_area(ring):
    points, face = ring.sample(40_000)
    areas = np.linalg.norm(ring.vector_areas, axis=1)
    # One point in each stretch of the summed area: the count of a set of triangles in a row is off by less than 2.
    share = np.bincount(face, minlength=len(areas)).cumsum() / 40_000
    assert np.abs(share - areas.cumsum() / areas.sum()).max() < 2 / 40_000
    assert distance_to_triangle(points, ring.corners[face]).max() < 1e-12
    # The angle of a torus about its tube has the density (R + r cos v) / 2πR, so that E cos v = r / 2R.
    cosine = (np.hypot(points[:, 0], points[:, 1]) - 0.6) / 0.25
    assert np.isclose(cosine.mean(), 0.25 / 1.2, atol=0.01)  # the polyhedron: (h/2r)²/2 = 0.008


def test_samples_are_uniform_within_a_triangle():
    triangle = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    points, _ = triangle.sample(20_000)
    # Mean 1/3, variance 1/18, covariance -1/36 of the coordinates; four standard deviations of such means.
    assert np.allclose(points[:, :2].mean(axis=0), 1 / 3, atol=4 * np.sqrt(1 / 18 / 20_000))
    assert np.allclose(np.cov(points[:, :2].T), [[1 / 18, -1 / 36], [-1 / 36, 1 / 18]], atol=2e-3)


def test_distance_to_a_triangle_is_the_least_over_its_points(key):
    corners, points = jax.random.normal(key, (40, 3, 3)), jax.random.normal(jax.random.key(1), (40, 3))
    corners, points = np.asarray(corners, np.float64), np.asarray(points, np.float64)
    n = 60
    weights = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) / n
    least = np.linalg.norm(points[:, None] - np.einsum("kc,fcd->fkd", weights, corners), axis=2).min(axis=1)
    found = distance_to_triangle(points, corners)
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    assert np.all(found <= least + 1e-12)
    assert np.all(least - found <= longest / n)  # the mesh of points that the oracle has


def test_points_near_a_surface_and_far_from_it_come_with_their_signed_distance():
    cloud = SurfaceDataset(sample(SOLIDS["sphere"], 20_000))  # in the cube a sphere of the radius 0.9
    batch = cloud.distance_sampler(3000)(jax.random.key(0), 0)
    exact = np.linalg.norm(batch["coordinates"], axis=1) - 0.9
    near = np.abs(exact) < 0.1
    assert 0.6 < near.mean() < 0.8
    assert abs(exact[near].mean()) < 0.01
    error = np.abs(batch["value"][:, 0] - exact)
    # A step along a normal is exact; the plane of a sample at a gap of 0.03 is 0.03²/2r off the sphere.
    assert np.quantile(error[near], 0.9) < 0.03**2 / (2 * 0.9)
    # The nearest of points with gaps of the radius 0.04 is up to 0.04²/2d farther than the surface at a distance d.
    assert np.all(error < np.where(near, 0.04**2 / (2 * 0.03), 0.04**2 / (2 * 0.1)))


def test_equal_shapes_are_no_distance_apart_and_shifted_spheres_half_the_shift(ball):
    reference = Reference(ball, count=5000)
    assert reference.agreement(ball).chamfer < 1e-5  # where more than twelve slivers have nearer centres
    shift = 0.02
    moved = Mesh(ball.vertices + np.array([0, 0, shift]), ball.faces)
    found = reference.agreement(moved)
    # |shift·cos| to first order, whose mean over a sphere is 1/2; the second order is shift²/r.
    assert np.isclose(found.chamfer, shift / 2, atol=shift**2 + 1e-4)
    assert found.normal_consistency > 0.995
    inverted = reference.agreement(Mesh(ball.vertices, ball.faces[:, ::-1]))
    assert inverted.normal_consistency < -0.99
    assert inverted.chamfer < 1e-5


def test_a_cloud_is_no_distance_from_the_surface_that_it_was_taken_from(ball):
    truth = sample(SOLIDS["sphere"], 4000)
    found = Reference(truth, count=4000).agreement(ball)
    # The inscribed polyhedron is up to h²/4r away, a disc of radius ρ up to ρ²/2r: spacing 0.045, ρ about 0.06.
    assert found.chamfer < (2 / 32) ** 2 / 3.2 + 0.06**2 / 1.6
    far = np.array([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0]])
    assert np.allclose(Nearest(truth)(far)[0], [4.2, 0.8], atol=1e-2)


def test_a_fit_without_a_surface_has_no_distance_and_can_be_drawn(ball, monkeypatch):
    monkeypatch.setattr("siren_jax.plot.shape.SIDE", 32)
    nothing = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    assert np.isnan(Reference(ball, count=100).agreement(nothing)).all()
    assert nothing.vertex_normals.shape == (0, 3)
    truth, prediction = ((one.vertices, one.faces, one.vertex_normals) for one in (ball, nothing))
    figure = shape_comparison(truth, prediction, np.zeros(0))
    assert [bool((axis.images[0].get_array() < 1).any()) for axis in figure.axes[:3]] == [True, False, False]


def test_the_chamfer_distance_of_a_shifted_lattice_is_the_shift():
    lattice = np.indices((5, 5, 5)).reshape(3, -1).T.astype(float)
    assert metrics.chamfer_distance(lattice, lattice + np.array([0.3, 0, 0])) == pytest.approx(0.3)


def test_the_occupancy_of_a_mesh_is_the_sign_of_its_distance(ring):
    inside = occupancy(ring, 40)
    centres = Frame((40,) * 3).coordinates(np.stack(np.indices((40,) * 3), axis=-1)).reshape(-1, 3)
    distance = TORUS(centres).reshape(inside.shape)
    sure = np.abs(distance) > (2 / 32) ** 2 / (4 * 0.25)  # what the polyhedron is off by
    assert np.array_equal(inside[sure], (distance < 0)[sure])
    assert metrics.intersection_over_union(inside, distance < 0) > 0.98


@pytest.mark.parametrize("name", ["sphere", "torus"])
def test_normals_are_estimated_and_turned_outwards(name):
    points = sample(SOLIDS[name], 3000)
    cosine = np.sum(estimated_normals(points.points) * points.normals, axis=1)
    assert cosine.min() > 0.8  # 16 neighbours of 3,000 reach 0.1 far on a tube of 0.25: 25 degrees at the worst
    assert cosine.mean() > 0.99
    assert outwardness(points.points, points.normals)[0] > 0


def test_the_normals_of_two_bodies_are_turned_apart():
    one = sample(SOLIDS["sphere"], 800)
    points = np.concatenate([one.points, one.points + np.array([5.0, 0, 0])])
    assert np.sum(estimated_normals(points) * np.tile(one.normals, (2, 1)), axis=1).min() > 0.9


def test_triangles_that_run_the_wrong_way_round_are_turned(ring):
    random = np.random.default_rng(0).random(len(ring.faces)) < 0.3
    mixed = Mesh(ring.vertices, np.where(random[:, None], ring.faces[:, ::-1], ring.faces))
    turned, count = agreeing_triangles(mixed)
    assert count == random.sum()
    assert turned.is_closed
    assert np.isclose(turned.volume, ring.volume)


def test_the_placement_puts_the_box_into_the_cube_and_back():
    points = np.array([[10.0, 0, 3], [30, 5, 3], [20, 2, 4]])
    placement = place(points)
    coordinates = placement.coordinates(points)
    assert np.allclose(coordinates.min(axis=0), [-0.9, -0.225, -0.045])
    assert np.allclose(coordinates.max(axis=0), [0.9, 0.225, 0.045])
    assert np.allclose(placement.units(coordinates), points, atol=1e-5)  # float32 of a box of 20


def test_a_batch_has_points_of_the_surface_with_their_normals_and_others_in_the_cube():
    surface = sample(SOLIDS["sphere"], 500)
    dataset = SurfaceDataset(Surface(40 + 3 * surface.points, 2 * surface.normals))
    batch = dataset.sampler(400)(jax.random.key(0), 0)
    shapes = dict.fromkeys(("on", "normal", "off"), (400, 3)) | {"distance": (400,)}
    assert {name: leaf.shape for name, leaf in batch.items()} == shapes
    # The nearest of 500 points is farther than the sphere, by less than the radius of the widest gap between them:
    # on average 500·(0.2/1.8)² = 6 points are within 0.2 of a place.
    distance = np.linalg.norm(batch["off"], axis=1) - 0.9
    further = np.abs(batch["distance"]) - np.abs(distance)
    assert further.max() < 0.2
    assert further.mean() < 0.02
    assert np.all(((batch["distance"] > 0) == (distance > 0)) | (np.abs(distance) < 0.02))


@pytest.mark.parametrize("size", [0, 501])
def test_a_batch_of_more_points_than_there_are_is_refused(size):
    with pytest.raises(InputError, match="batch_size must be 1 to 500, the points"):
        SurfaceDataset(sample(SOLIDS["sphere"], 500)).sampler(size)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones((40, 3)), "are the same"),
        (np.arange(40.0)[:, None] * np.ones(3), "on one line"),
        (np.random.default_rng(0).random((40, 3)) * [1, 1, 0], "in one plane"),
        (np.full((40, 3), np.nan), "NaN or infinite"),
        (np.ones((40, 2)), r"the same shape \(n, 3\)"),
        (np.ones((0, 3)), r"the same shape \(n, 3\)"),
    ],
)
def test_points_that_surround_nothing_are_refused(points, message):
    with pytest.raises(InputError, match=message):
        SurfaceDataset(Surface(points, np.ones_like(points)))


def test_the_terms_of_a_signed_distance_from_one_pass_are_those_of_naive_derivatives(float64):
    with jax.enable_x64(True):
        network = SIREN(3, 1, width=16, depth=1, first_omega=5.0, omega=5.0, rngs=nnx.Rngs(0))
        graphdef, params = nnx.split(network)
        params = float64(params)
        on, off, normal = np.random.default_rng(0).normal(size=(3, 20, 3)) / 3
        normal = unit(normal)
        d = np.random.default_rng(1).random(20)
        names = ("on", "off", "normal", "distance")
        batch = {name: jnp.asarray(a) for name, a in zip(names, (on, off, normal, d), strict=True)}

        def naive(params):
            f = lambda x: nnx.merge(graphdef, params)(x)[0]

            def row(x, y, n, d):
                g, h = jax.jacfwd(f)(x), jax.jacfwd(f)(y)
                length, other = jnp.sqrt(g @ g), jnp.sqrt(h @ h)
                uneven = (abs(length - 1) + abs(other - 1)) / 2
                return jnp.stack([abs(f(x)), jnp.exp(-100 * abs(f(y))), 1 - g @ n / length, uneven, abs(f(y) - d)])

            return jax.vmap(row)(*(batch[name] for name in names))

        ours = lambda params: jnp.stack(list(signed_distance(nnx.merge(graphdef, params), batch).values()), axis=1)
        weights = jnp.array(list(recipes.SHAPE_WEIGHTS["tuned"].values()))

        def evaluated(rows):
            loss = lambda params: (jnp.mean(rows(params) @ weights), rows(params))
            return jax.jit(jax.grad(loss, has_aux=True))(params)

        (slope, terms), (true_slope, true_terms) = evaluated(ours), evaluated(naive)
        assert np.allclose(terms, true_terms, atol=1e-8)  # 1e-12 under the root, over lengths of 0.01
        for a, b in zip(*map(jax.tree.leaves, (slope, true_slope)), strict=True):
            assert np.allclose(a, b, rtol=1e-6, atol=1e-6)


def test_a_distance_has_no_loss_and_a_flat_field_no_infinite_gradient():
    points = sample(SOLIDS["torus"], 200)
    batch = {name: jnp.asarray(a) for name, a in (("on", points.points), ("normal", points.normals))}
    batch["off"] = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (200, 3)))
    batch["distance"] = jnp.asarray(TORUS(np.asarray(batch["off"])))
    distance = lambda x: (jnp.hypot(jnp.hypot(x[0], x[1]) - 0.6, x[2]) - 0.25)[None]
    terms = jax.jit(lambda batch: signed_distance(distance, batch))(batch)
    for name in ("on", "normal", "eikonal", "far"):
        assert np.abs(terms[name]).max() < 1e-5  # float32
    # Of the cube's volume 2·area·∫ exp(-100 d) dd = area/50 is near the surface: the mean is area/50/8, ± 4 deviations.
    assert np.isclose(terms["off"].mean(), 4 * np.pi**2 * 0.15 / 400, atol=4 * np.sqrt(0.0075 / 200))
    assert set(terms) == set(recipes.SHAPE_WEIGHTS["paper"]) == set(recipes.SHAPE_WEIGHTS["tuned"])
    flat = lambda a: sum(term.mean() for term in signed_distance(lambda x: a * x[:1] + 1, batch).values())
    assert np.isfinite(jax.jit(jax.grad(flat))(0.0))


def test_a_signed_distance_has_one_channel():
    batch = dict.fromkeys(("on", "normal", "off"), jnp.ones((2, 3))) | {"distance": jnp.ones(2)}
    with pytest.raises(ValueError, match="one channel"):
        signed_distance(lambda x: x, batch)


def test_the_gradient_is_clipped_as_a_whole():
    update = recipes.PAPER_SHAPE._replace(b2=0.0).optimizer()
    # Without memory Adam divides by the length of each component: clipping cannot be seen, but by its memory of them.
    clipped = jax.jit(lambda g: update.update({"a": g}, update.init({"a": g})))(jnp.array([3.0, 4.0]))[1]
    mean = next(leaf for leaf in jax.tree.leaves(clipped) if leaf.shape == (2,))
    assert np.allclose(mean, 0.1 * np.array([0.6, 0.8]))


def field_of_a_shape() -> NeuralField:
    network = SIREN(3, 1, width=8, depth=1, first_omega=3.0, rngs=nnx.Rngs(1))
    network.output.bias[...] -= network(jnp.zeros(3))  # zero in the middle
    placement = Placement((10.0, 20.0, -5.0), 4.0)
    return NeuralField(network, Frame((256,) * 3), (-4.0, 4.0), "shape", placement=placement)


def test_the_mesh_of_a_field_is_where_it_is_zero_in_the_units_of_the_file():
    field = field_of_a_shape()
    mesh = field.mesh(32)
    assert len(mesh.faces)
    points = field.placement.coordinates(mesh.vertices)
    here, beside = (np.abs(field(points + step)).max() for step in (np.float32([0, 0, 0]), np.float32([2 / 32, 0, 0])))
    assert here < 0.02 * beside  # linear interpolation within a cell, against what a cell changes


def test_a_shape_is_kept_in_its_file(tmp_path):
    field = field_of_a_shape()
    field.save(tmp_path / "a.siren")
    again = load(tmp_path / "a.siren")
    assert (again.kind, again.placement, again.value_range) == ("shape", field.placement, (-4.0, 4.0))


def test_only_a_shape_has_a_surface():
    with pytest.raises(InputError, match="a shape has a surface"):
        NeuralField(SIREN(2, 1, width=8, rngs=nnx.Rngs(0)), Frame((3, 3))).mesh()
