"""The page about a predictor, and the measurements behind it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.evaluation import OURS, cross_validate, score_predictor
from accuracy_from_weights.evaluation.bands import by_accuracy, by_epoch, by_p_value
from accuracy_from_weights.evaluation.importance import (
    coarse_groups,
    fine_groups,
    group_importances,
)
from accuracy_from_weights.evaluation.inspection import LEVELS, Inspector
from accuracy_from_weights.evaluation.interval_coverage import coverage_by_level
from accuracy_from_weights.evaluation.report.html_report import render_report, write_report
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.predictor.family import FamilyCheck
from accuracy_from_weights.predictor.folds import last_rows
from accuracy_from_weights.zoo.table import ZooTable
from tests.synthetic import learnable_zoo

CHECKPOINTS = 11
HOSTILE = "<script>alert('x')</script> & \"quoted\" $title"


class Light(RegressorMixin, BaseEstimator):
    """What an inspector asks of a predictor, in no time: linear, with the real family check."""

    features = "weights"
    feature_names_ = FEATURE_NAMES

    def __init__(self, coverage=0.9):
        self.coverage = coverage

    def fit(self, X, y, groups=None, tasks=None, domains=None, on_fold=None):
        self.model_ = make_pipeline(StandardScaler(), Ridge(10.0)).fit(X, y)
        self.deviation_ = max(float(np.std(self.model_.predict(X) - y)), 0.01)
        self.family_ = FamilyCheck.fit(X, groups, 0)
        return self

    def predict(self, X):
        return np.clip(self.model_.predict(X), 0, 1)

    def predict_interval(self, X, coverage=None):
        half = self.deviation_ * norm.ppf((1 + (coverage or self.coverage)) / 2)
        return np.stack([self.predict(X) - half, self.predict(X) + half], axis=1)

    def family_p_values(self, X):
        return self.family_.p_values(X)

    def in_family(self, X):
        return self.family_p_values(X) >= 0.01


def make_table(names=("a", "b"), n_runs=20):
    """Two data sets of made-up networks; those of the second are unlike the first's."""
    # Among fewer than a hundred networks none can be one in a hundred: none would be outside.
    parts = [learnable_zoo(n_runs, CHECKPOINTS, seed=k) for k in range(len(names))]
    features = np.concatenate([part[0] + 3 * k for k, part in enumerate(parts)])
    accuracy = np.concatenate([part[1] for part in parts])
    n = len(accuracy)
    runs = np.concatenate([np.char.add(f"{k}/", part[2]) for k, part in enumerate(parts)])
    unknown = np.full(n, np.nan)
    return ZooTable(
        features=features.astype(np.float32),
        feature_names=FEATURE_NAMES,
        paper_statistics=None,
        runs=runs,
        datasets=np.repeat(names, n_runs * CHECKPOINTS),
        steps=np.tile(np.arange(CHECKPOINTS, dtype=float), n_runs * len(names)),
        accuracy=accuracy,
        loss=1 - accuracy,
        train_accuracy=np.clip(accuracy + 0.02, 0, 1),
        train_loss=unknown,
        hyperparameters={},
        fingerprint="f" * 64,
    )


@pytest.fixture(scope="module")
def inspected():
    """A zoo of two data sets, its evaluations and what an inspector saw."""
    table = make_table(("digits", HOSTILE))
    inspector = Inspector(table, other_datasets=True)
    evaluations = cross_validate(table, Light(), n_folds=2, inspect=inspector)
    return table, evaluations, inspector.inspections()


@pytest.fixture(scope="module")
def page(inspected):
    table, evaluations, inspections = inspected
    return render_report(
        evaluations, inspections, zoo=HOSTILE, fingerprint=table.fingerprint, given=None
    )


@pytest.fixture(scope="module")
def given_predictor():
    table = make_table(("digits",), n_runs=12)
    predictor = AccuracyPredictor(n_folds=2)
    return table, predictor.fit(table.features, table.accuracy, groups=table.runs)


class Outline(HTMLParser):
    """What a page is made of; complains about tags that do not close."""

    EMPTY = frozenset({"meta", "br", "link", "img", "use", "path", "rect", "image"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


class TestPage:
    def test_is_well_formed_and_says_what_was_asked_for(self, page):
        outline = Outline(page)
        headings = [tag for tag, _ in outline.tags if tag in {"h2", "h3"}]
        assert headings.count("h2") == 3, "the protocol and two data sets"
        text = " ".join(outline.text)
        for part in (
            "Beside simple baselines",
            "What the family check lets through",
            "Which features matter",
            "2-fold by run",
            "tie ceiling",
            "f" * 64,
            OURS,
        ):
            assert part in text

    def test_needs_nothing_beside_itself(self, page):
        outline = Outline(page)
        for tag, attributes in outline.tags:
            assert tag not in {"script", "link", "iframe", "object"}
            for name in ("src", "href", "xlink:href", "action"):
                target = attributes.get(name) or "#"
                assert target.startswith(("#", "data:image/png;base64,")), target
        assert "@import" not in page
        for target in re.findall(r"url\(([^)]*)\)", page):
            assert target.strip("'\"").startswith("#")
        without_namespaces = re.sub(r'xmlns(?::\w+)?="[^"]*"', "", page)
        assert "http" not in without_namespaces

    def test_names_of_the_user_are_text(self, page):
        assert "<script" not in page
        text = "".join(Outline(page).text)
        assert HOSTILE in text

    def test_each_picture_says_in_words_what_it_shows(self, page):
        pictures = [attributes for tag, attributes in Outline(page).tags if tag == "svg"]
        assert len(pictures) == 2 * 7
        for attributes in pictures:
            assert attributes["role"] == "img"
            assert len(attributes["aria-label"] or "") > 60
            assert "width" not in attributes, "the page decides"

    def test_names_inside_the_pictures_do_not_collide(self, page):
        names = [attributes.get("id") for _, attributes in Outline(page).tags]
        markers = [
            name for name in names if name and re.match(r"m[0-9a-f]{10}$|p[0-9a-f]{10}$", name)
        ]
        assert markers
        assert len(markers) == len(set(markers))

    def test_colours_follow_the_page(self, page):
        drawings = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)).lower()
        assert "currentcolor" in drawings
        assert "var(--blue)" in drawings
        for sentinel in ("#010203", "#040506", "#0072b2"):
            assert sentinel not in drawings

    def test_equal_evaluations_give_equal_bytes(self, inspected, page):
        table, evaluations, inspections = inspected
        again = render_report(evaluations, inspections, zoo=HOSTILE, fingerprint=table.fingerprint)
        assert again == page

    def test_of_a_given_predictor_says_that_it_may_have_seen_them(self, given_predictor, tmp_path):
        table, predictor = given_predictor
        inspector = Inspector(table)
        evaluations = score_predictor(table, predictor, inspect=inspector)
        path = tmp_path / "page.html"
        write_report(
            path, evaluations, inspector.inspections(), zoo="z", fingerprint="0", given="my.file"
        )
        text = " ".join(Outline(path.read_text(encoding="utf-8")).text)
        assert "estimated by my.file" in text
        assert "flatters it" in text
        assert list(tmp_path.iterdir()) == [path]

    def test_that_cannot_be_written_is_one_sentence(self, inspected, tmp_path):
        _, evaluations, inspections = inspected
        path = tmp_path / "no" / "page.html"
        with pytest.raises(AccuracyFromWeightsError, match="report cannot be written"):
            write_report(path, evaluations[:1], inspections[:1], zoo="", fingerprint="")


class TestInspection:
    def test_sees_every_network_once_and_agrees_with_the_scores(self, inspected):
        _, evaluations, inspections = inspected
        for evaluation, found in zip(evaluations, inspections, strict=True):
            assert found.dataset == evaluation.dataset
            ours = next(s for s in evaluation.all_checkpoints if s.name == OURS)
            assert len(found.truth) == ours.n_rows
            assert np.mean(np.abs(found.errors)) == pytest.approx(ours.mean_absolute_error.value)
            low, high = found.intervals[:, LEVELS.index(0.9)].T
            held = np.mean((low <= found.truth) & (found.truth <= high))
            assert held == pytest.approx(ours.coverage.value)
            assert last_rows(found.runs, found.steps).sum() == ours.n_runs

    def test_networks_of_other_data_sets_are_recognised(self, inspected):
        _, _, (first, second) = inspected
        assert [other.dataset for other in first.other_datasets] == [second.dataset]
        assert [other.dataset for other in second.other_datasets] == [first.dataset]
        for found in (first, second):
            assert found.other_datasets[0].share_outside > 0.9
            assert found.in_family.mean() > 0.8

    def test_no_other_data_sets_where_none_were_asked_for(self, given_predictor):
        table, predictor = given_predictor
        inspector = Inspector(table)
        rows = np.arange(20)
        inspector("digits", predictor, table.features, rows)
        (found,) = inspector.inspections()
        assert found.other_datasets == ()
        np.testing.assert_array_equal(found.predicted, predictor.predict(table.features[rows]))


class TestImportance:
    def test_finds_the_group_that_tells(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(400, 5))
        y = 0.5 + 0.1 * (X[:, 1] + X[:, 2])
        groups = {"noise": np.array([0, 3]), "telling": np.array([1, 2]), "part": np.array([1])}
        found = group_importances(LinearRegression().fit(X, y), X, y, groups)
        assert found["noise"] == pytest.approx(0, abs=1e-9)
        # The mean distance of two normal draws is 2/sqrt(pi) standard deviations.
        assert found["part"] == pytest.approx(0.1 * 2 / np.sqrt(np.pi), rel=0.15)
        assert found["telling"] == pytest.approx(0.1 * np.sqrt(2) * 2 / np.sqrt(np.pi), rel=0.15)

    def test_a_group_that_never_varies_costs_no_prediction(self):
        X = np.ones((10, 2))
        refuses = SimpleNamespace(predict=lambda X: np.zeros(len(X)) if X is features else 1 / 0)
        features = X
        found = group_importances(refuses, features, np.zeros(10), {"all": np.array([0, 1])})
        assert found == {"all": 0.0}

    @pytest.mark.parametrize("groups", [coarse_groups, fine_groups])
    def test_each_feature_is_in_one_group(self, groups):
        names = (*FEATURE_NAMES, "log.accuracy", "probes.entropy.mean", "odd")
        columns = np.concatenate(list(groups(names).values()))
        assert sorted(columns) == list(range(len(names)))

    def test_groups_join_what_belongs_together(self):
        names = ("layers.log_std.first", "layers.log_std.last", "layers.q5.first")
        assert list(coarse_groups(names)) == ["first layer", "last layer"]
        assert {k: v.tolist() for k, v in fine_groups(names).items()} == {
            "layers log std": [0, 1],
            "layers q5": [2],
        }


class TestBands:
    @given(
        st.lists(
            st.tuples(st.integers(0, 100), st.integers(0, 60), st.floats(-1, 1)),
            min_size=1,
            max_size=80,
        )
    )
    def test_each_network_is_in_one_band_and_the_errors_add_up(self, rows):
        accuracy, steps, errors = (np.array(column, float) for column in zip(*rows, strict=True))
        for bands in (
            by_accuracy(accuracy / 100, errors),
            by_epoch(steps, errors),
            by_p_value(accuracy / 100, accuracy >= 1, errors),
        ):
            assert sum(band.n_rows for band in bands) == len(rows)
            total = sum(band.n_rows * band.mean_absolute_error for band in bands)
            assert total == pytest.approx(np.abs(errors).sum(), abs=1e-9)
            assert len({band.label for band in bands}) == len(bands) <= 12

    def test_edges_belong_to_the_upper_band(self):
        bands = by_accuracy([0.0, 0.3, 0.29, 1.0], [0.0, 0.1, 0.2, 0.3])
        assert [(band.label, band.n_rows) for band in bands] == [
            ("0-10%", 1),
            ("20-30%", 1),
            ("30-40%", 1),
            ("90-100%", 1),
        ]
        assert bands[2].mean_absolute_error == pytest.approx(0.1)

    def test_few_epochs_stand_alone_and_many_are_joined(self):
        assert [band.label for band in by_epoch([0, 2, 2, 86], np.zeros(4))] == ["0", "2", "86"]
        many = by_epoch(np.arange(100), np.zeros(100))
        assert [band.label for band in many][:2] == ["0-8", "9-18"]
        assert len(many) == 10


class TestCoverage:
    def test_is_the_share_of_truths_inside_with_runs_weighing_the_same(self):
        truth = np.array([0.5, 0.5, 0.5, 0.9])
        intervals = np.array([[[0.4, 0.6]], [[0.4, 0.6]], [[0.0, 0.1]], [[0.8, 1.0]]])
        (found,) = coverage_by_level(truth, intervals, [0.9], ["a", "a", "a", "b"])
        assert found.stated == 0.9
        assert found.measured == pytest.approx((2 / 3 + 1) / 2)
        assert found.width == pytest.approx((0.5 / 3 + 0.2) / 2)
        assert found.low <= found.measured <= found.high

    def test_a_promise_that_is_kept_lies_within_its_own_interval(self):
        rng = np.random.default_rng(0)
        truth = rng.uniform(size=2000)
        half = np.array([0.25, 0.45])
        centre = rng.uniform(-0.5, 0.5, size=2000) + truth
        intervals = np.stack([centre[:, None] - half, centre[:, None] + half], axis=2)
        for found in coverage_by_level(truth, intervals, [0.5, 0.9], np.arange(2000)):
            assert found.low < found.stated < found.high
            assert 0.02 < found.high - found.low < 0.06
