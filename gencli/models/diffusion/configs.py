"""Options of diffusion models, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gencli.config import ClassConditional, Enough, Options, TextConditional, Training, option

_GUIDANCE = "To class or caption: 0 ignores it, 1 is the plain model, more insists."
_STEPS = "Evaluations of the U-Net for each image: 20 unless given, at most --timesteps."


@dataclass(frozen=True)
class DiffusionSampling(Options):
    """Sampling options of diffusion models that are told nothing."""

    sampler: Literal["ddpm", "ddim", "dpm++", "sde-dpm++"] = option(
        "sde-dpm++",
        "ddpm is ancestral, ddim deterministic, dpm++ too and of second order; sde- adds noise.",
    )
    steps: int | None = option(None, _STEPS, min=1)


@dataclass(frozen=True)
class GuidedSampling(DiffusionSampling):
    """Sampling options of conditional diffusion models."""

    guidance: float = option(1.0, _GUIDANCE)


@dataclass(frozen=True)
class DeterministicSampling(Options):
    """Options of decoding: the noise says all, so the sampler adds none."""

    sampler: Literal["ddim", "dpm++"] = option("dpm++", "Of first or of second order.")
    steps: int | None = option(None, _STEPS, min=1)
    guidance: float = option(1.0, _GUIDANCE)


@dataclass(frozen=True)
class BoundTerms(Options):
    """How the variational bound is measured."""

    terms: int = option(
        10, "Terms of the bound drawn for each image; from T - 1 on, none is left out.", min=1
    )


@dataclass(frozen=True)
class UNetConfig(ClassConditional):
    """What every model with a U-Net has options for."""

    enough: ClassVar[Enough | None] = Enough(digits=4_000, photographs=50_000)

    width: int = option(16, "Channels of the U-Net at its highest resolution.", min=8)
    multipliers: tuple[int, ...] = option(
        (1, 3, 6), "Channels of each resolution, in widths.", min=1
    )
    blocks: int = option(1, "Residual blocks of each resolution, down and up.", min=1)
    patch: int = option(1, "Side of the pixel patches folded into channels.", min=1)
    dropout: float = option(0.0, "Dropout in the residual blocks.", min=0, max=0.9)


@dataclass(frozen=True)
class GuidedConfig(TextConditional, UNetConfig):
    """What models that turn Gaussian noise into images have options for."""

    training: ClassVar[Training] = Training(
        epochs=6, batch_size=16, lr=3e-3, lr_schedule="cosine", warmup=200, ema_decay=0.999
    )

    perturbation: float = option(
        0.1, "Input perturbation: further noise on x_t in training, over its own.", min=0
    )
    label_dropout: float = option(
        0.1, "Share of classes and captions withheld in training.", min=0, max=1
    )


@dataclass(frozen=True)
class DDPMConfig(GuidedConfig):
    """Options of `ddpm`."""

    Sampling: ClassVar[type[Options]] = GuidedSampling
    Decoding: ClassVar[type[Options]] = DeterministicSampling
    Measuring: ClassVar[type[Options]] = BoundTerms

    timesteps: int = option(1000, "Noise levels T.", min=2)
    schedule: Literal["linear", "cosine"] = option("cosine", "How the noise grows.")
    prediction: Literal["epsilon", "v"] = option("v", "What the U-Net tells: the noise, or v.")
    variance: Literal["fixed", "learned"] = option(
        "fixed", "Of a step back; learned by the bound, beside the means, for --sampler ddpm."
    )

    def sampling(self) -> type[Options]:
        """Guidance only where there is something to be guided to."""
        return GuidedSampling if self.conditions() else DiffusionSampling


_FLOW_STEPS = "Steps of the solver: 20 unless given."


@dataclass(frozen=True)
class FlowSampling(Options):
    """Sampling options of flows that are told nothing."""

    sampler: Literal["euler", "midpoint", "heun", "dpm++", "sde-dpm++"] = option(
        "sde-dpm++",
        "midpoint and heun ask the U-Net twice a step, the others once; sde- adds noise.",
    )
    steps: int | None = option(None, _FLOW_STEPS, min=1)


@dataclass(frozen=True)
class GuidedFlowSampling(FlowSampling):
    """Sampling options of conditional flows."""

    guidance: float = option(1.0, _GUIDANCE)


@dataclass(frozen=True)
class DeterministicFlow(Options):
    """Options of decoding: the noise says all, so the sampler adds none."""

    sampler: Literal["euler", "midpoint", "heun", "dpm++"] = option(
        "midpoint", "Of first order, and three of second."
    )
    steps: int | None = option(None, _FLOW_STEPS, min=1)
    guidance: float = option(1.0, _GUIDANCE)


@dataclass(frozen=True)
class FlowMatchingConfig(GuidedConfig):
    """Options of `flow-matching`."""

    Sampling: ClassVar[type[Options]] = GuidedFlowSampling
    Decoding: ClassVar[type[Options]] = DeterministicFlow

    prediction: Literal["velocity", "edm"] = option(
        "velocity", "What the U-Net tells: the velocity, or what EDM's preconditioning leaves."
    )
    times: Literal["uniform", "logit-normal"] = option(
        "logit-normal", "How times are drawn in training; logit-normal ones are in the middle."
    )

    def sampling(self) -> type[Options]:
        """Guidance only where there is something to be guided to."""
        return GuidedFlowSampling if self.conditions() else FlowSampling


@dataclass(frozen=True)
class DiscreteSampling(Options):
    """Sampling options of diffusion on discrete pixels."""

    steps: int | None = option(
        None, "Steps of the chain: 100 unless given, at most --timesteps.", min=1
    )
    temperature: float = option(
        1.0, "Below 1 prefers likely pixels, above 1 evens them out.", min=1e-3
    )


@dataclass(frozen=True)
class DiscreteTerms(Options):
    """How the bound of diffusion on discrete pixels is measured."""

    terms: int = option(
        10, "Terms of the bound drawn for each image; from T or the pixels on, all.", min=1
    )


@dataclass(frozen=True)
class DiscreteConfig(UNetConfig):
    """What the models of discrete pixels share."""

    training: ClassVar[Training] = Training(
        epochs=6,
        batch_size=16,
        lr=3e-3,
        lr_schedule="cosine",
        warmup=200,
        ema_decay=0.999,
        binarize="dynamic",
    )
    Sampling: ClassVar[type[Options]] = DiscreteSampling
    Measuring: ClassVar[type[Options]] = DiscreteTerms

    timesteps: int = option(1000, "Steps T of the chain.", min=2)
    auxiliary: float = option(
        0.0, "Weight of the cross-entropy of x_0 beside each term of the bound.", min=0
    )


@dataclass(frozen=True)
class D3PMConfig(DiscreteConfig):
    """Options of `d3pm`."""

    kernel: Literal["uniform", "absorbing", "gaussian"] = option(
        "absorbing",
        "A step draws a pixel anew, masks it for good, or moves it to a level nearby.",
    )


@dataclass(frozen=True)
class BinomialDiffusionConfig(DiscreteConfig):
    """Options of `binomial-diffusion`: those of `d3pm`, but for the kernel."""

    kernel: ClassVar[Literal["uniform"]] = "uniform"
