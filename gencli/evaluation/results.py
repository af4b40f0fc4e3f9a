"""Measured figures that say what they are. No torch here: the command line reads this."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["exact", "bound", "estimate"]

DESCRIPTIONS: dict[str, str] = {
    "nll": "negative log-likelihood, exact",
    "nll_bound": "an upper bound on it, such as the negative evidence lower bound",
    "nll_estimate": "an estimate of it by importance sampling, plain or annealed",
    "bits_per_dim": "the best of these per pixel value, for discrete 8-bit likelihoods",
    "reconstruction": "squared error of encoding and decoding test images",
    "fd_judge": "Frechet distance between the judge's features of samples and of real images",
    "kid_judge": "kernel distance (squared MMD) between the same features",
    "precision": "share of the samples that look like real images",
    "recall": "share of the real images that look like samples",
    "density": "how densely real images surround the samples; about 1 is perfect",
    "coverage": "share of the real images that have a sample near them",
    "confident": "share of the samples that the judge is sure of (p > 0.9)",
    "smallest_class": "share of the samples in the class that the judge finds least often",
    "label_agreement": "share of the samples that the judge gives the class asked for, or true",
    "judge_accuracy": "share of the real test images that the judge classifies correctly",
    "clustering_accuracy": "share of the images whose cluster is that of their class",
    "nmi": "normalised mutual information of clusters and classes",
    "bayes_accuracy": "share of the real images whose class Bayes' rule finds; when asked for",
    "probe_accuracy_1000": "share of images right by a linear classifier of codes, 1,000 labels",
    "probe_accuracy_1000_pixels": "the same by pixels",
    "probe_accuracy_1000_pca": "the same by as many principal components as a code has dimensions",
    "probe_accuracy": "share right by a linear classifier of codes, all labels; when asked for",
    "probe_accuracy_pixels": "the same by pixels; when asked for",
    "probe_accuracy_pca": "the same by principal components; when asked for",
    "auroc_likelihood": "how well -log p tells --outliers from the split's images; chance is 0.5",
    "auroc_complexity": "the same by bits above the size as a PNG file",
    "auroc_typicality": "the same by how far log p is from its mean over training images",
    "l1": "mean difference of translations from the true images",
    "psnr": "peak signal-to-noise ratio of translations of source images",
    "ssim": "structural similarity of translations and true images",
    "l1_source": "the first of the source image itself; small ones are enlarged by bicubic",
    "psnr_source": "the second of the source image itself",
    "ssim_source": "the third of the source image itself",
    "digit_agreement": "share of samples of scenes with the digit that the caption asks for",
    "ink_agreement": "the same of the colour of the ink",
    "paper_agreement": "the same of the colour of the paper, where a caption tells it",
    "vendi": "effective number of different samples, by the judge's features",
    "vendi_real": "the same of real images",
    "ct": "copying test: far below 0 where samples are copies of training images; when asked for",
    "authenticity": "share of samples no nearer to a training image than another; when asked for",
    "authenticity_real": "the same of real images that were not trained on; when asked for",
    "fid": "Frechet distance between Inception's features of the two; when asked for",
    "kid": "kernel distance (squared MMD) between the same features; when asked for",
    "fld": "feature likelihood divergence, by the judge's features; 0 is perfect; when asked for",
    "fld_gap": "of training less of unseen images: far below fld_gap_real where samples are copies",
    "fld_gap_real": "the same with real images in the samples' place",
}
"""What each key means, in the order of reports.

A key's random numbers depend on its place: further ones are added at the end.
"""

KEYS: tuple[str, ...] = tuple(DESCRIPTIONS)

COPYING = frozenset({"ct", "authenticity", "authenticity_real"})
"""Figures that look for samples among the training images."""

FLD = frozenset({"fld", "fld_gap", "fld_gap_real"})
"""Figures of the likelihood that samples give to training and to unseen images."""

BESIDE_TRAINING = COPYING | FLD
"""Figures that the judge looks at all training images for."""

INCEPTION = frozenset({"fid", "kid"})
"""Figures by Inception's features, the only ones that have these names."""

ASKED_FOR = (
    BESIDE_TRAINING
    | INCEPTION
    | {*("bayes_accuracy", "probe_accuracy", "probe_accuracy_pixels", "probe_accuracy_pca")}
)
"""Figures that are measured only where they are named: they take a likelihood for each class, a
look at all training images, or Inception's weights."""

OUTLIERS = ("auroc_likelihood", "auroc_complexity", "auroc_typicality")
"""Figures that compare the split's images with others."""

JUDGED = (
    frozenset(KEYS[KEYS.index("fd_judge") : KEYS.index("judge_accuracy") + 1])
    | {"vendi", "vendi_real"}
    | BESIDE_TRAINING
)
"""Figures that depend on the judge."""

LOWER_IS_BETTER = frozenset(
    {"nll", "nll_bound", "nll_estimate", "bits_per_dim", "reconstruction", "fd_judge", "kid_judge"}
    | {"l1", "l1_source", "fid", "kid", "fld"}
)
"""Of the others, more is better, or neither."""

NEITHER_IS_BETTER = COPYING | {"vendi_real", "fld_gap", "fld_gap_real"}
"""Figures of which there is no best: samples should have about what real images have."""

SURE = 2.0
"""Standard errors within which a difference says nothing."""


@dataclass(frozen=True, repr=False)
class Metric:
    """One figure.

    Attributes:
        value: The figure.
        unit: What it counts, such as "nats per image".
        kind: `exact` where it is the quantity itself, on the images stated; `bound` where the
            quantity is at most `value`; `estimate` where it was found by sampling.
        standard_error: Of `value`, in the same unit; None where it is not known.
        n: How many images it was measured on.
        doubt: Why `standard_error` is not to be trusted, in a line; None where nothing says so.
    """

    value: float
    unit: str
    kind: Kind
    standard_error: float | None
    n: int
    doubt: str | None = None

    def __repr__(self) -> str:
        """Such as `<106.06 ± 0.31 nats per image, bound, 10,000 images>`."""
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2g}"
        return f"<{self.value:.5g}{error} {self.unit}, {self.kind}, {self.n:,} images>"

    def to_json(self) -> dict[str, Any]:
        """The figure as a JSON object; `doubt` is there where there is one."""
        document = asdict(self)
        if self.doubt is None:
            del document["doubt"]
        return document
