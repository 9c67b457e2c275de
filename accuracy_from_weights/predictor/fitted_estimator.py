"""The part of an estimator that holds a `FittedState`, writes it to a file and reads it back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from accuracy_from_weights.errors import AccuracyFromWeightsError, number_between
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.predictor.anchoring import Anchor
from accuracy_from_weights.predictor.fitted_state import FittedState
from accuracy_from_weights.predictor.predictor_file import damaged, read_predictor, write_predictor

if TYPE_CHECKING:
    from typing_extensions import Self


class FittedEstimator(BaseEstimator):
    """Base of `AccuracyPredictor`: its fitted attributes and its file."""

    features: str
    coverage: float
    state_: FittedState

    @property
    def feature_names_(self) -> tuple[str, ...]:  # noqa: D102  # described in the class
        return self._fitted().names

    @property
    def n_features_in_(self) -> int:  # noqa: D102
        return self._fitted().n_features

    @property
    def anchor_(self) -> Anchor:  # noqa: D102
        return self._fitted().anchor

    @property
    def card_(self) -> dict[str, Any]:  # noqa: D102
        return self._fitted().card

    def _fitted(self) -> FittedState:
        check_is_fitted(self, "state_")
        return self.state_

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the predictor to one file, which appears whole or not at all.

        Raises
        ------
        AccuracyFromWeightsError
            When the file cannot be written.
        """
        write_predictor(path, self._fitted(), self.get_params())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a predictor that `save` wrote; no code of the file is run.

        Raises
        ------
        UnreadableFileError
            When the file is missing, damaged, no predictor, or of another format version.
        """
        state, settings = read_predictor(path)
        try:
            predictor = cls(**settings)
            number_between("coverage", predictor.coverage, 0.01, 0.999)
            unknown = set(state.names) - set(feature_names(predictor.features))
        except (TypeError, AccuracyFromWeightsError) as error:
            raise damaged(path) from error
        if unknown:
            raise damaged(path)
        predictor.state_ = state
        return predictor
