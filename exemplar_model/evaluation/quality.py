"""QS: how likely a picture's CLIP features are among those of real pictures.

Gu et al., GIQA: Generated Image Quality Assessment, ECCV 2020, with the mixture of the reference's
`eval_tool/gmm`: 20 components with full covariances.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.mixture import GaussianMixture

from ..errors import UserError
from ..files import written_whole
from .score import Array

COMPONENTS = 20
BEST = 300
"""Log-likelihood that counts as 100."""
BATCH = 50
"""Of the reference, which drops the pictures that do not fill one."""
TENSORS = ("weights", "means", "covariances", "precisions_cholesky")
NUMPY = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}
"""What the pickle of a mixture may name besides the mixture itself."""


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture over features.

    Attributes:
        name: of the score that it gives: "QS" for the authors' mixture, else "QS (refit)".
        fitted_on: what it was fitted on, for the report.
        model: scikit-learn's.
    """

    name: str
    fitted_on: str
    model: GaussianMixture

    def log_likelihood(self, features: Array) -> Array:
        """Of features [N, D], [N]."""
        dimensions = cast("Array", self.model.means_).shape[1]
        if features.shape[1] != dimensions:
            raise UserError(
                f"The mixture is of {dimensions} dimensions, and the backbone's features have "
                f"{features.shape[1]}; fit a mixture with this backbone."
            )
        return cast("Array", self.model.score_samples(features))

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        tensors = {name: getattr(self.model, f"{name}_") for name in TENSORS}
        with written_whole(path) as unfinished:
            save_file(tensors, unfinished, {"name": self.name, "fitted_on": self.fitted_on})


def quality(log_likelihood: Array, clip: bool = True) -> Array:
    """Each picture's QS: log-likelihood / 300 · 100, between 0 and 100 unless `clip` is off."""
    shares = log_likelihood / BEST
    return 100 * (shares.clip(0, 1) if clip else shares)


def scored_by_the_reference(pictures: int) -> int:
    """Of so many pictures, how many the reference's QS counts: whole batches of 50."""
    batch = min(BATCH, pictures)
    return pictures // batch * batch


def fit_mixture(
    features: Array, fitted_on: str, components: int = COMPONENTS, seed: int = 0
) -> Mixture:
    """Fit a mixture to the features [N, D] of real pictures.

    Raises:
        UserError: fewer pictures than components.
    """
    if len(features) < components:
        raise UserError(
            f"A mixture of {components} components needs at least as many pictures, and there are "
            f"{len(features)}."
        )
    model = GaussianMixture(components, covariance_type="full", random_state=seed).fit(features)
    return Mixture("QS (refit)", fitted_on, model)


def load_mixture(path: Path) -> Mixture:
    """Read a mixture that `Mixture.save` wrote.

    Raises:
        UserError: the file is none.
    """
    from safetensors import SafetensorError, safe_open

    try:
        tensors = load_file(path)
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        return _mixture(tensors, metadata["name"], metadata["fitted_on"])
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(
            f"{path} is no mixture for QS; make one by `evaluate fit-mixture`, or from the "
            "authors' pickle by `evaluate convert-mixture`."
        ) from error


def convert_mixture(pickled: Path, target: Path, trusted: bool) -> None:
    """Write the authors' pickle `coco2017_gmm_k20` as a safetensors file.

    Nothing in it is run but the making of numpy arrays and of the mixture's own attributes.

    Args:
        pickled: their file.
        target: the file to write.
        trusted: whether the user vouches for the pickle.

    Raises:
        UserError: not trusted, or no Gaussian mixture with full covariances.
    """
    if not trusted:
        raise UserError(
            f"{pickled} is a pickle, which can carry code; convert it with --trust-pickle if you "
            "know where it comes from."
        )
    try:
        state = _MixtureUnpickler(io.BytesIO(pickled.read_bytes())).load().__dict__
        tensors = {name: np.asarray(state[f"{name}_"], np.float64) for name in TENSORS}
        if tensors["covariances"].ndim != 3:
            raise KeyError("full covariances")
    except (OSError, pickle.UnpicklingError, KeyError, AttributeError, EOFError) as error:
        raise UserError(
            f"{pickled} is no pickled Gaussian mixture with full covariances ({error}); get "
            "coco2017_gmm_k20 from the link in the README of Fantasy-Studio/Paint-by-Example."
        ) from error
    _mixture(tensors, "QS", f"the authors' {pickled.name}").save(target)


def _mixture(tensors: dict[str, Array], name: str, fitted_on: str) -> Mixture:
    model = GaussianMixture(len(tensors["weights"]), covariance_type="full")
    for attribute in TENSORS:
        setattr(model, f"{attribute}_", tensors[attribute])
    return Mixture(name, fitted_on, model)


class _MixtureUnpickler(pickle.Unpickler):
    """Makes plain objects in place of scikit-learn's, of whatever version wrote them."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("sklearn.mixture") and name == "GaussianMixture":
            return _PickledMixture
        if (module, name) in NUMPY:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


class _PickledMixture:
    """The attributes of a pickled mixture."""
