"""Models that draw one pixel after another, each given those before it."""

from __future__ import annotations

from torch import Tensor

from gencli.core.model import GenerativeModel
from gencli.nn.likelihoods import Likelihood
from gencli.sampling.ancestral import Conditional, ancestral
from gencli.sampling.generator import ImageGenerator


class AutoregressiveModel(GenerativeModel):
    """A model that writes `cached_conditional`, and draws and completes images by it."""

    likelihood: Likelihood

    def cached_conditional(self, n: int) -> Conditional:
        """Conditionals for drawing `n` images, without what the whole network repeats."""
        raise TypeError(f"{type(self).__name__} does not define cached_conditional()")

    def sample(
        self,
        n: int,
        *,
        generator: ImageGenerator,
        labels: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw `n` images (n, C, H, W), pixel by pixel."""
        return self.draw(n, generator, temperature)

    def complete(
        self, x: Tensor, known_mask: Tensor, *, generator: ImageGenerator, temperature: float = 1.0
    ) -> Tensor:
        """Draw the unknown pixels of `x`, each given the known and drawn ones before it.

        Args:
            x: (n, C, H, W).
            known_mask: Bool, (H, W) or (n, 1, H, W).
            generator: Holds a stream for each image.
            temperature: Below 1 prefers likely pixels, above 1 evens them out.
        """
        return self.draw(len(x), generator, temperature, x, known_mask)

    def draw(
        self,
        n: int,
        generator: ImageGenerator,
        temperature: float,
        given: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Images (n, C, H, W); what `sample` and `complete` share."""
        uniforms = generator.uniform(self.data.n_pixels).to(next(self.parameters()))
        return ancestral(
            self.cached_conditional(n), self.likelihood, uniforms, self.data.shape,
            temperature=temperature, given=given, known=known,
        )  # fmt: skip
