"""What a model can do beyond sampling: protocols found by type, and one record of them all.

Exact likelihoods, bounds and unnormalised energies have separate names, so that one is never ranked
beside another by mistake. `x` is (B, C, H, W) in [0, 1] and `condition` what is known of it
throughout; likelihoods are in nats per image. Own options of a model's `Measuring` are keyword
arguments of `log_partition`, or of `log_prob_bound` where there is none; those of `Decoding` are of
`decode`.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from gencli import registry
from gencli.data.conditions import NOTHING, Condition
from gencli.kinds import ConditionKind
from gencli.models.interface import GenerativeModel
from gencli.random import ImageGenerator


class LogPartition(NamedTuple):
    """An estimate of log Z and its standard error, in nats.

    `doubt` says in a line why the standard error is not to be trusted, where it is not.
    """

    value: float
    standard_error: float
    doubt: str | None = None


@runtime_checkable
class HasLogProb(Protocol):
    """The likelihood is exact."""

    def log_prob(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Log p(x), (B,) nats; a discrete probability for binary and 8-bit data."""
        ...


@runtime_checkable
class HasBound(Protocol):
    """A lower bound on the likelihood."""

    def log_prob_bound(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """A draw (B,), in nats, whose mean is at most log p(x), such as the ELBO.

        With a `log_partition` it lacks log Z: its mean is then at most log p(x) + log Z.
        """
        ...


@runtime_checkable
class HasLogWeights(Protocol):
    """Importance sampling: a bound for one sample, an estimate for many."""

    def log_weights(self, x: Tensor, k: int, condition: Condition = NOTHING) -> Tensor:
        """The logarithms (k, B) of importance weights, in nats, whose means are p(x).

        With a `log_partition` they lack it: their means are then Z p(x).
        """
        ...


@runtime_checkable
class HasEnergy(Protocol):
    """An unnormalised density."""

    def energy(self, x: Tensor) -> Tensor:
        """(B,) nats, so that p(x) is proportional to exp(-energy)."""
        ...


@runtime_checkable
class HasLogPartition(Protocol):
    """The normaliser Z can be estimated; bound, `energy` and `log_weights` lack it.

    The defaults of its options are quick enough for validation.
    """

    def log_partition(self, *, chains: int = 64, temperatures: int = 500) -> LogPartition:
        """Log Z, by annealed importance sampling from torch's global generators."""
        ...


@runtime_checkable
class HasLatent(Protocol):
    """Images are decoded from a latent space with a simple prior."""

    def sample_latent(self, n: int, *, generator: ImageGenerator) -> Tensor:
        """Latents (n, ...) from the prior."""
        ...

    def decode(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(n, ...) -> images (n, C, H, W) in [0, 1]; deterministic."""
        ...


@runtime_checkable
class HasEncoder(Protocol):
    """Images can be mapped to the latent space."""

    def encode(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(B, C, H, W) -> latents (B, ...) that `decode` takes; deterministic (the mean)."""
        ...


@runtime_checkable
class HasEmbedding(Protocol):
    """What a condition says is a vector, and there are images of those between two of them."""

    def embed(self, condition: Condition) -> Tensor:
        """The condition of n images -> vectors (n, E)."""
        ...

    def decode_embedded(self, z: Tensor, told: Tensor) -> Tensor:
        """As `decode`, with the same options, told vectors (n, E)."""
        ...


@runtime_checkable
class HasAssignments(Protocol):
    """Images fall into clusters of the model's own."""

    def assign(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(B, C, H, W) -> the most probable cluster of each, (B,) int64; deterministic."""
        ...


@runtime_checkable
class HasValidation(Protocol):
    """Checkpoints are selected on something other than the likelihood."""

    def validation_loss(self, x: Tensor, condition: Condition = NOTHING) -> Tensor:
        """(B,), smaller is better."""
        ...


@runtime_checkable
class HasFilters(Protocol):
    """The first layer's weights can be shown as pictures."""

    def filters(self) -> Tensor:
        """(n, C, H, W), of any sign and scale."""
        ...


@runtime_checkable
class HasCompletion(Protocol):
    """Given a part of an image, the rest can be drawn. Sampling options are those of `sample`."""

    def complete(
        self,
        x: Tensor,
        known_mask: Tensor,
        *,
        generator: ImageGenerator,
        condition: Condition = NOTHING,
    ) -> Tensor:
        """Draw the pixels that are not known, in the model's order, each given those before it.

        Where the known pixels come first in that order, as the top rows do in raster order, this is
        a draw from p(unknown | known); elsewhere they do not influence those that come before them.
        A model that can take the unknown pixels in any order, as masked diffusion does, sees all
        known ones from the first, wherever they are.

        Args:
            x: (B, C, H, W), kept where `known_mask` is true.
            known_mask: bool, (H, W) or (B, 1, H, W).
            generator: Where every random number comes from.
            condition: What is known beside.
        """
        ...


PROTOCOLS: dict[str, type] = {
    "log_prob": HasLogProb,
    "bound": HasBound,
    "log_weights": HasLogWeights,
    "energy": HasEnergy,
    "log_partition": HasLogPartition,
    "latent": HasLatent,
    "encoder": HasEncoder,
    "embedding": HasEmbedding,
    "assignments": HasAssignments,
    "filters": HasFilters,
    "completion": HasCompletion,
}
"""The abilities that the table of models names."""


@dataclass(frozen=True)
class Abilities:
    """What a model, or a model's class, can do.

    Attributes:
        names: Of `PROTOCOLS`.
        conditions: What it is told beside the images; of a class, what it may be told.
        steps: Whether its sampler goes in steps that can be watched.
        bf16: Whether it trains under bf16 autocast.
    """

    names: frozenset[str]
    conditions: tuple[ConditionKind, ...]
    steps: bool
    bf16: bool


def abilities_of(model: GenerativeModel | type[GenerativeModel]) -> Abilities:
    """The record of a model's abilities, read off its methods.

    All protocols have methods alone, so a class tells as much as a model; only the conditions are
    known after the config.
    """
    cls: type[Any] = model if isinstance(model, type) else type(model)
    return Abilities(
        frozenset(name for name, protocol in PROTOCOLS.items() if issubclass(cls, protocol)),
        () if isinstance(model, type) else model.conditions,
        "on_step" in inspect.signature(cls.sample).parameters,
        cls.bf16,
    )


def having(ability: str) -> str:
    """The names of the models with an ability, for messages."""
    return ", ".join(s.name for s in registry.models().values() if ability in s.abilities)
