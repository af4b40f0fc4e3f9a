from __future__ import annotations

import math

import pytest
import torch

from gencli.models.latent.paths import PathKind, lerp, manifold_grid, path, slerp


def test_lerp_is_the_straight_line() -> None:
    a, b = torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, -2.0]])
    assert torch.equal(lerp(a, b, 0.25), torch.tensor([[1.0, 1.0]]))


def test_slerp_of_right_angles_is_the_circle() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    for t in (0.0, 0.3, 1.0):
        angle = t * math.pi / 2
        expected = torch.tensor([[math.cos(angle), math.sin(angle)]])
        torch.testing.assert_close(slerp(a, b, t), expected)


def test_slerp_of_unit_vectors_is_shoemakes_formula() -> None:
    a = torch.nn.functional.normalize(torch.randn(5, 12, dtype=torch.float64), dim=1)
    b = torch.nn.functional.normalize(torch.randn(5, 12, dtype=torch.float64), dim=1)
    omega = torch.acos((a * b).sum(1, keepdim=True))
    expected = (torch.sin(0.7 * omega) * a + torch.sin(0.3 * omega) * b) / torch.sin(omega)
    torch.testing.assert_close(slerp(a, b, 0.3), expected)


def test_slerp_moves_norms_linearly_and_each_row_alone() -> None:
    a, b = torch.randn(6, 3, 4), torch.randn(6, 3, 4)
    z = slerp(a, b, 0.4)
    norms = 0.6 * a.flatten(1).norm(dim=1) + 0.4 * b.flatten(1).norm(dim=1)
    torch.testing.assert_close(z.flatten(1).norm(dim=1), norms)
    torch.testing.assert_close(z[2:3], slerp(a[2:3], b[2:3], 0.4))


def test_slerp_of_parallel_rows_is_lerp() -> None:
    a = torch.randn(4, 7)
    b = a * torch.tensor([[1.0], [3.0], [1e-3], [0.0]])
    torch.testing.assert_close(slerp(a, b, 0.35), lerp(a, b, 0.35))


def test_slerp_of_opposite_rows_is_a_half_circle() -> None:
    a = torch.randn(3, 8)
    middle = slerp(a, -a, 0.5)
    torch.testing.assert_close(middle.norm(dim=1), a.norm(dim=1))
    torch.testing.assert_close((middle * a).sum(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(slerp(a, -a, 1.0), -a)


def test_slerp_from_zero_and_in_one_dimension_is_finite() -> None:
    b = torch.randn(1, 5)
    torch.testing.assert_close(slerp(torch.zeros(1, 5), b, 1.0), b)
    a = torch.tensor([[2.0]])
    assert slerp(a, -a, 0.5).item() == 0.0


@pytest.mark.parametrize("kind", ["spherical", "linear"])
def test_path_has_both_ends_exactly_and_even_steps(kind: PathKind) -> None:
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    walk = path(a, b, 7, kind)
    assert walk.shape == (2, 7, 3, 4, 4)
    assert torch.equal(walk[:, 0], a)
    assert torch.equal(walk[:, -1], b)
    unit = torch.nn.functional.normalize(walk.flatten(2), dim=2) if kind == "spherical" else walk
    steps = unit.diff(dim=1).flatten(2).norm(dim=2)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))
    between = slerp if kind == "spherical" else lerp
    torch.testing.assert_close(walk[:, 2], between(a, b, 1 / 3))


def test_manifold_grid_stands_at_the_quantiles() -> None:
    sheet = manifold_grid(4)
    assert sheet.shape == (16, 2)
    shares = torch.special.ndtr(sheet)
    torch.testing.assert_close(shares[:4, 0], torch.tensor([0.125, 0.375, 0.625, 0.875]))
    torch.testing.assert_close(shares[::4, 1], torch.tensor([0.875, 0.625, 0.375, 0.125]))
    torch.testing.assert_close(sheet.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert torch.equal(manifold_grid(1), torch.zeros(1, 2))
