"""Does a predictor's file say the same under another release of scikit-learn?

``tox -e sklearn-oldest,sklearn-newest`` runs ``write FOLDER`` in the first environment and
``compare FOLDER`` in the second. Two predictors cross over: one that is fitted by the older release
and read by the newer one, and the one that ships, which a newer release fitted and the older reads.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import sklearn

from accuracy_from_weights import AccuracyPredictor, load_predictor
from tests.synthetic import learnable_zoo

# Sums of float32 leaves may be ordered otherwise by another numpy; a fraction shown to four digits
# does not feel it.
_TOLERANCE = 1e-6


def numbers(predictor: AccuracyPredictor, features: np.ndarray) -> np.ndarray:
    """All that a predictor says of some networks, a row each."""
    estimates = predictor.judge(features)
    return np.array(
        [[e.accuracy, e.low, e.high, e.in_family, e.family_p_value] for e in estimates], float
    )


def write(folder: Path) -> None:
    """Fit, save, and write down what the predictors say here."""
    folder.mkdir(parents=True, exist_ok=True)
    features, accuracies, runs = learnable_zoo(60)
    fitted = AccuracyPredictor(n_folds=3).fit(features, accuracies, groups=runs)
    fitted.save(folder / "fitted.predictor")
    np.savez(
        folder / "said.npz",
        features=features,
        release=sklearn.__version__,
        fitted=numbers(fitted, features),
        shipped=numbers(load_predictor(), features),
    )


def compare(folder: Path) -> None:
    """Read what was saved, and stop with an error where a predictor says something else here."""
    with np.load(folder / "said.npz") as file:
        said = dict(file)
    for name, predictor in {
        "fitted": load_predictor(folder / "fitted.predictor"),
        "shipped": load_predictor(),
    }.items():
        here = numbers(predictor, said["features"])
        np.testing.assert_allclose(here, said[name], rtol=0, atol=_TOLERANCE, err_msg=name)
        spread = np.ptp(here[:, 0])
        print(
            f"{name}: {len(here)} estimates, {spread:.2f} apart, the same under scikit-learn "
            f"{said['release']} and {sklearn.__version__}"
        )
        assert spread > 0.05, "estimates that do not differ prove nothing"


if __name__ == "__main__":
    {"write": write, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
