"""Deep convolutional generative adversarial network (Radford et al. 2015, arXiv:1511.06434).

The game of the GAN (Goodfellow et al. 2014, arXiv:1406.2661),

    D minimises -E log D(x) - E log(1 - D(G(z))),    G minimises -E log D(G(z)),

between convolutional networks: G goes up from a small map by transposed convolutions of stride 2
with batch normalisation, D comes down by strided convolutions.

With `--objective relativistic` D judges a real image against a made one (R3GAN, Huang et al. 2024,
arXiv:2501.05441), with penalties on its gradient at both (`--r1`, `--r2`):

    D minimises -E log s(D(x) - D(G(z))),    G minimises -E log s(D(G(z)) - D(x))

where s is the logistic function.

Departures: hidden dense layers in both networks, as in InfoGAN (arXiv:1606.03657; `--hidden 0` for
the paper's), without which strokes are right and digits wrong; D learns more slowly than G (two
time scales, Heusel et al. 2017, arXiv:1706.08500), without which it wins; 4x4 kernels (5x5 in the
paper, `--kernel 5` here) because they divide evenly into the stride; fewer channels; images are
drawn from a moving average of G's weights; where images are few D can be shown changed ones
(`augment.py`), so that it does not learn the real ones by heart; a D that is told classes has a
penalty on its gradient at real images (R1, arXiv:1801.04406), without which it wins and G makes
one image of each class. R3GAN's are other networks, and here D(x) in G's loss is from D's own last
update.
"""

from __future__ import annotations

from typing import Any

from gencli.data.spec import DataInfo
from gencli.models.adversarial.augment import augmentation
from gencli.models.adversarial.base import AdversarialModel, told_classes
from gencli.models.adversarial.configs import DCGANConfig
from gencli.models.adversarial.game import non_saturating, relativistic
from gencli.models.adversarial.networks import Discriminator, Generator
from gencli.models.interface import Update

R1_OF_CLASSES = 2.0
"""Weight of the penalty on D's gradient at real images where classes are told, unless given."""


class DCGAN(AdversarialModel):
    """The GAN of convolutional networks, for images of 28, 32 or 64 pixels a side."""

    config: DCGANConfig

    def __init__(self, config: DCGANConfig, data: DataInfo) -> None:
        n_classes = told_classes(config, data)
        networks = (
            Generator(
                "conv", config.latent_dim, config.width, data,
                kernel=config.kernel, hidden=config.hidden, n_hidden=config.n_hidden,
                n_classes=n_classes,
            ),
            Discriminator(
                "conv", config.d_width, data,
                kernel=config.kernel, hidden=config.hidden, spectral=config.spectral_norm,
                dropout=config.dropout, batch_norm=config.batch_norm, n_classes=n_classes,
            ),
        )  # fmt: skip
        super().__init__(config, data, networks)

    def updates(self) -> tuple[Update, ...]:
        """The discriminator's `d_steps` updates, then the generator's."""
        c = self.config
        told: dict[str, Any] = {
            "d_lr_scale": c.d_lr_scale,
            "augment": augmentation(c.augment, c.cutout, c.recolour),
        }
        told_r1 = R1_OF_CLASSES if c.conditional else 0.0
        r1 = told_r1 if c.r1 is None else c.r1
        if c.objective == "relativistic":
            return self.game(relativistic, non_saturating, r1, c.r2, relative=True, **told)
        return self.cross_entropy_game(c.label_smoothing, r1, c.r2, **told)
