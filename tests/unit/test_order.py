from __future__ import annotations

import pytest
import torch

from gencli.data.order import Order, hold_out


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (10, 3), (101, 100), (55_000, 128), (7, 9)])
def test_an_epoch_is_a_permutation_in_even_batches(n: int, batch_size: int) -> None:
    order = Order(n, batch_size, seed=1)
    assert order.n_batches == -(-n // batch_size)
    for epoch in range(2):
        batches = [order.indices(epoch * order.n_batches + b) for b in range(order.n_batches)]
        sizes = {len(batch) for batch in batches}
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
        assert torch.equal(torch.cat(batches).sort().values, torch.arange(n))


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    order = Order(1000, 64, seed=3)
    wanted = [order.indices(b) for b in range(3 * order.n_batches)]
    fresh = Order(1000, 64, seed=3)
    torch.manual_seed(99)
    for b in (40, 2, 17, 16, 15, 47):
        assert torch.equal(fresh.indices(b), wanted[b])


def test_epochs_and_seeds_are_shuffled_anew() -> None:
    order = Order(1000, 1000, seed=3)
    first, second, other = order.indices(0), order.indices(1), Order(1000, 1000, 4).indices(0)
    for a, b in [(first, second), (first, other), (second, other), (first, torch.arange(1000))]:
        # Two independent permutations agree in one place on average, in more than 8 hardly ever.
        assert int((a == b).sum()) <= 8


def test_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    Order(100, 10, 0).indices(0)
    hold_out(100, 10)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize(("n", "batch_size"), [(0, 1), (1, 0), (-1, 5)])
def test_impossible_orders_are_refused(n: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="no order"):
        Order(n, batch_size, 0)


@pytest.mark.parametrize(("n", "k"), [(10, 0), (10, 3), (10, 10), (60_000, 5_000)])
def test_hold_out_parts_the_images(n: int, k: int) -> None:
    kept, held = hold_out(n, k)
    assert (len(kept), len(held)) == (n - k, k)
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(n))
    for part in (kept, held):
        assert bool((part.diff() > 0).all())
    assert torch.equal(hold_out(n, k)[1], held)
    # Spread over the whole range, not its beginning or end.
    if k == 5_000:
        assert abs(float(held.double().mean()) - n / 2) < 5 * n / (12 * k) ** 0.5
