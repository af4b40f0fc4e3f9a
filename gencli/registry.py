"""The table of models. No torch here: help and completion are read without importing a model.

Third parties add models through the entry-point group `gencli.models`: each entry point names a
`ModelSpec`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache

from gencli import kin, plugins
from gencli.errors import UsageError
from gencli.model_spec import FAMILIES, ModelSpec

__all__ = ["FAMILIES", "MODELS", "ModelSpec", "find", "models", "names", "nearest"]


def _spec(
    name: str, target: str, summary: str, paper: str, abilities: str = "",
    aliases: tuple[str, ...] = (),
) -> ModelSpec:  # fmt: skip
    family, _, cls = re.split("[.:]", target)
    return ModelSpec(
        name,
        f"gencli.models.{target}",
        f"gencli.models.{family}.configs:{cls}Config",
        family,
        summary,
        paper,
        frozenset(abilities.split()),
        aliases,
    )


MODELS: tuple[ModelSpec, ...] = (
    _spec(
        "vae",
        "latent.vae:VAE",
        "Variational autoencoder with a Gaussian latent space",
        "Kingma and Welling 2013, arXiv:1312.6114",
        "bound log_weights latent encoder",
    ),
    _spec(
        "autoencoder",
        "latent.autoencoder:Autoencoder",
        "Autoencoder: plain, denoising, contractive or sparse, its codes drawn from Gaussians",
        "Vincent et al. 2008; Rifai et al. 2011; Makhzani and Frey 2013, arXiv:1312.5663",
        "latent encoder filters",
        aliases=("ae", "dae"),
    ),
    _spec(
        "ppca",
        "latent.ppca:PPCA",
        "Probabilistic principal component analysis, in closed form",
        "Tipping and Bishop 1999, J. R. Statist. Soc. B 61:611",
        "log_prob bound latent encoder filters completion",
        aliases=("pca",),
    ),
    _spec(
        "factor-analysis",
        "latent.factor_analysis:FactorAnalysis",
        "Factor analysis: Gaussian factors, and a variance for each pixel",
        "Rubin and Thayer 1982, Psychometrika 47:69",
        "log_prob bound latent encoder filters completion",
    ),
    _spec(
        "sbn",
        "latent.sbn:SBN",
        "Sigmoid belief network with a recognition network: a Helmholtz machine",
        "Neal 1992; Bornschein and Bengio 2015, arXiv:1406.2751",
        "log_weights latent encoder filters",
        aliases=("helmholtz",),
    ),
    _spec(
        "gan",
        "adversarial.gan:GAN",
        "Generative adversarial network of multilayer perceptrons",
        "Goodfellow et al. 2014, arXiv:1406.2661",
        "latent",
    ),
    _spec(
        "dcgan",
        "adversarial.dcgan:DCGAN",
        "Deep convolutional generative adversarial network",
        "Radford et al. 2015, arXiv:1511.06434",
        "latent",
    ),
    _spec(
        "wgan",
        "adversarial.wgan:WGAN",
        "Wasserstein GAN whose critic's weights are clipped",
        "Arjovsky et al. 2017, arXiv:1701.07875",
        "latent",
    ),
    _spec(
        "wgan-gp",
        "adversarial.wgan_gp:WGANGP",
        "Wasserstein GAN with a gradient penalty",
        "Gulrajani et al. 2017, arXiv:1704.00028",
        "latent",
    ),
    _spec(
        "lsgan",
        "adversarial.lsgan:LSGAN",
        "Generative adversarial network with a least-squares loss",
        "Mao et al. 2016, arXiv:1611.04076",
        "latent",
    ),
    _spec(
        "cgan",
        "adversarial.cgan:CGAN",
        "Generative adversarial network that draws the class it is asked for",
        "Mirza and Osindero 2014, arXiv:1411.1784",
        "latent",
    ),
    _spec(
        "pix2pix",
        "adversarial.pix2pix:Pix2Pix",
        "Generative adversarial network that translates a source image: U-Net, patches, L1",
        "Isola et al. 2017, arXiv:1611.07004",
        "latent",
    ),
    _spec(
        "gan-cls",
        "adversarial.gan_cls:GANCLS",
        "Text to image by a GAN whose discriminator also sees mismatched captions",
        "Reed et al. 2016, arXiv:1605.05396",
        "latent embedding",
    ),
    _spec(
        "stackgan",
        "adversarial.stackgan:StackGAN",
        "Text to image by two GANs, the second on what the first made at half the size",
        "Zhang et al. 2017, arXiv:1612.03242",
        "latent embedding",
    ),
    _spec(
        "ddpm",
        "diffusion.ddpm:DDPM",
        "Denoising diffusion: a U-Net that turns noise into images step by step",
        "Ho et al. 2020, arXiv:2006.11239",
        "bound latent embedding",
    ),
    _spec(
        "flow-matching",
        "diffusion.flow_matching:FlowMatching",
        "Flow matching on straight paths: a U-Net tells the way from noise to images",
        "Lipman et al. 2022, arXiv:2210.02747",
        "latent encoder embedding",
        aliases=("rectified-flow",),
    ),
    _spec(
        "d3pm",
        "diffusion.d3pm:D3PM",
        "Diffusion on discrete pixels; masked diffusion, which completes any part of an image",
        "Austin et al. 2021, arXiv:2107.03006",
        "bound completion",
        aliases=("masked-diffusion",),
    ),
    _spec(
        "binomial-diffusion",
        "diffusion.binomial:BinomialDiffusion",
        "Diffusion of binary pixels by fair coins, the first diffusion model",
        "Sohl-Dickstein et al. 2015, arXiv:1503.03585",
        "bound completion",
    ),
    _spec(
        "rbm",
        "boltzmann.rbm:RBM",
        "Restricted Boltzmann machine, trained by contrastive divergence",
        "Hinton 2002, Neural Computation 14:1771",
        "energy log_partition filters",
    ),
    _spec(
        "dbn",
        "boltzmann.dbn:DBN",
        "Deep belief network: restricted Boltzmann machines on one another",
        "Hinton et al. 2006, Neural Computation 18:1527",
        "log_weights log_partition filters",
    ),
    _spec(
        "boltzmann",
        "boltzmann.boltzmann:Boltzmann",
        "General Boltzmann machine: every unit may be coupled to every other",
        "Ackley, Hinton and Sejnowski 1985, Cognitive Science 9:147",
        "log_weights log_partition filters",
    ),
    _spec(
        "dbm",
        "boltzmann.dbm:DBM",
        "Deep Boltzmann machine: coupled layers, trained by mean field and Markov chains",
        "Salakhutdinov and Hinton 2009; Montavon and Mueller 2012, arXiv:1203.3783",
        "bound log_weights log_partition filters",
    ),
    _spec(
        "mixture",
        "mixture.mixture:Mixture",
        "Mixture of Bernoullis or Gaussians, trained by expectation maximisation",
        "Dempster et al. 1977, J. R. Statist. Soc. B 39:1",
        "log_prob assignments",
        aliases=("gmm",),
    ),
    _spec(
        "fvsbn",
        "autoregressive.fvsbn:FVSBN",
        "Fully visible sigmoid belief network: a logistic regression per pixel",
        "Frey, Hinton and Dayan 1996",
        "log_prob completion",
    ),
    _spec(
        "nade",
        "autoregressive.nade:NADE",
        "Neural autoregressive distribution estimator; RNADE on 8-bit data",
        "Larochelle and Murray 2011; Uria et al. 2016, arXiv:1605.02226",
        "log_prob completion filters",
        aliases=("rnade",),
    ),
    _spec(
        "made",
        "autoregressive.made:MADE",
        "Masked autoencoder for distribution estimation, of any depth",
        "Germain et al. 2015, arXiv:1502.03509",
        "log_prob completion",
    ),
    _spec(
        "pixelcnn",
        "autoregressive.pixelcnn:PixelCNN",
        "Masked convolutional network over pixels, plain or gated",
        "van den Oord et al. 2016, arXiv:1601.06759 and arXiv:1606.05328",
        "log_prob completion",
    ),
    _spec(
        "pixelrnn",
        "autoregressive.pixelrnn:PixelRNN",
        "LSTMs that sweep over an image along rows or diagonals",
        "van den Oord et al. 2016, arXiv:1601.06759",
        "log_prob completion",
    ),
    _spec(
        "transformer",
        "autoregressive.transformer:Transformer",
        "Decoder-only transformer over pixels or squares of them",
        "Vaswani et al. 2017, arXiv:1706.03762; Parmar et al. 2018, arXiv:1802.05751",
        "log_prob completion",
    ),
)


@cache
def models() -> dict[str, ModelSpec]:
    """All models by name: the built-in table, then plug-ins, which cannot replace a built-in."""
    builtin = [name for spec in MODELS for name in (spec.name, *spec.aliases)]
    return {spec.name: spec for spec in (*MODELS, *plugins.found(builtin, FAMILIES))}


def names() -> list[str]:
    """Every name and alias."""
    table = models()
    return [*table, *(alias for spec in table.values() for alias in spec.aliases)]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a slip of the keyboard most likely meant."""
    lower: dict[str, str] = {}
    for candidate in known:
        lower.setdefault(candidate.lower(), candidate)
    wanted = name.lower()
    if len(wanted) > 2:
        begins = [candidate for candidate in lower if candidate.startswith(wanted)]
        if len(begins) == 1:  # `data` is datasets, not a name of the same length
            return lower[begins[0]]
    near = difflib.get_close_matches(wanted, lower, n=1)
    return lower[near[0]] if near else None


def find(name: str) -> ModelSpec:
    """The model of that name or alias.

    Raises:
        UsageError: If there is none; the cure names the nearest, by its letters or in its kind.
    """
    table = models()
    for spec in table.values():
        if name == spec.name or name in spec.aliases:
            return spec
    same = {kin.squeezed(known): known for known in names()}.get(kin.squeezed(name))
    kind = kin.nearest_kind(name)
    if same is None and kind in table:
        raise UsageError(
            f"There is no model called {name} yet.",
            f"The nearest kind is {kind}: gencli train {kind} --help",
        )
    near = same or nearest(name, names())
    hint = f"Did you mean {near}?" if near else "See `gencli list models`."
    raise UsageError(f"There is no model called {name}.", hint)
