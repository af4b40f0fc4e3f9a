"""What a model can do beyond sampling, as protocols found by type.

Exact likelihoods, bounds and unnormalised energies have separate names, so that one is never ranked
beside another by mistake. `x` is (B, C, H, W) in [0, 1] throughout; likelihoods are in nats per
image.
"""

from __future__ import annotations

import inspect
from typing import Protocol, runtime_checkable

from torch import Tensor

from gencli.random import ImageGenerator


@runtime_checkable
class HasLogProb(Protocol):
    """The likelihood is exact."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log p(x), (B,) nats; a discrete probability for binary and 8-bit data."""
        ...


@runtime_checkable
class HasBound(Protocol):
    """A lower bound on the likelihood, tightened by `k` samples."""

    def log_prob_bound(self, x: Tensor, k: int = 1) -> Tensor:
        """A draw (B,), in nats, whose mean is at most log p(x).

        The ELBO for k = 1, and for more the importance-weighted bound where the model has one.
        """
        ...


@runtime_checkable
class HasEnergy(Protocol):
    """An unnormalised density."""

    def energy(self, x: Tensor) -> Tensor:
        """(B,) nats, so that p(x) is proportional to exp(-energy)."""
        ...


@runtime_checkable
class HasLogPartition(HasEnergy, Protocol):
    """The normaliser of the energy can be estimated by annealed importance sampling."""

    def log_partition(self, n_chains: int, n_temperatures: int) -> tuple[float, float]:
        """(log Z, standard error), in nats."""
        ...


@runtime_checkable
class HasAnnealedBound(HasBound, Protocol):
    """The bound holds a normaliser that annealed importance sampling estimates."""

    n_chains: int
    """Of that annealing; to be set."""

    n_temperatures: int
    """Of that annealing; to be set."""

    def log_partition(self, n_chains: int, n_temperatures: int) -> tuple[float, float]:
        """(log Z, standard error), in nats; estimated once for each state of the weights."""
        ...


@runtime_checkable
class HasLatent(Protocol):
    """Images are decoded from a latent space with a simple prior."""

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        """Latents (n, ...) from the prior."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """(n, ...) -> images (n, C, H, W) in [0, 1]; deterministic."""
        ...


@runtime_checkable
class HasEncoder(Protocol):
    """Images can be mapped to the latent space."""

    def encode(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> latents (B, ...) that `decode` takes; deterministic (the mean)."""
        ...


@runtime_checkable
class HasValidation(Protocol):
    """Checkpoints are selected on something other than the likelihood."""

    def validation_loss(self, x: Tensor) -> Tensor:
        """(B,), smaller is better."""
        ...


@runtime_checkable
class HasLabels(Protocol):
    """Samples can be asked for by class."""

    conditional: bool


@runtime_checkable
class HasFilters(Protocol):
    """The first layer's weights can be shown as pictures."""

    def filters(self) -> Tensor:
        """(n, C, H, W), of any sign and scale."""
        ...


@runtime_checkable
class HasCompletion(Protocol):
    """Given a part of an image, the rest can be drawn."""

    def complete(
        self, x: Tensor, known_mask: Tensor, *, generator: ImageGenerator, temperature: float = 1.0
    ) -> Tensor:
        """Draw the pixels that are not known, in the model's order, each given those before it.

        Where the known pixels come first in that order, as the top rows do in raster order, this is
        a draw from p(unknown | known); elsewhere they do not influence those that come before them.

        Args:
            x: (B, C, H, W), kept where `known_mask` is true.
            known_mask: bool, (H, W) or (B, 1, H, W).
            generator: Where every random number comes from.
            temperature: Below 1: safer.
        """
        ...


CAPABILITIES: dict[str, type] = {
    "log_prob": HasLogProb,
    "bound": HasBound,
    "energy": HasEnergy,
    "log_partition": HasLogPartition,
    "latent": HasLatent,
    "encoder": HasEncoder,
    "labels": HasLabels,
    "filters": HasFilters,
    "completion": HasCompletion,
}


def capabilities_of(model: object) -> frozenset[str]:
    """Names of the capabilities that a model, or a model class, has."""
    if isinstance(model, type):
        return frozenset(
            name for name, protocol in CAPABILITIES.items() if _class_has(model, protocol)
        )
    return frozenset(name for name, p in CAPABILITIES.items() if isinstance(model, p))


def _class_has(cls: type, protocol: type) -> bool:
    wanted: set[str] = set()
    for base in protocol.__mro__[: protocol.__mro__.index(Protocol)]:
        wanted |= {name for name in vars(base) if not name.startswith("_")}
        wanted |= set(inspect.get_annotations(base))
    known = set(dir(cls)).union(*(inspect.get_annotations(base) for base in cls.__mro__))
    return wanted <= known
