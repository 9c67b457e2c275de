"""A fault at every call that a callback makes, one after another, in real training runs."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import accuracy_from_weights.features.describing
import accuracy_from_weights.features.probes
import accuracy_from_weights.predictor.pretrained
from accuracy_from_weights.callbacks import base
from accuracy_from_weights.stopping import Patience
from tests.callbacks.scripted import Informed, ours_among

PACKAGE = "accuracy_from_weights.callbacks"
HELPERS = (
    *("cadence", "chart", "evidence", "forecasts", "hooks", "judging", "observation"),
    *("other_callbacks", "processes", "truths"),
)
ESSENTIAL = {
    "load_predictor",
    "describe_network",
    "read_weights",
    "probe",
    "AccuracyCallback._estimate",
    "Informed.judge",
    "Informed.anchor",
    "Patience.update",
    "LogReader.training",
    "Forecasts.values",
    "Chart.add",
    "share_done",
}
# What users call, what stands in for an estimate, and what a Trainer of Lightning asks for.
ENTRANCES = {
    *("update", "attach", "initialize", "nothing_known"),
    *("state_key", "state_dict", "load_state_dict", "_get_param_names"),
}
ALL_FEATURES = {
    "features": "weights+probes+log",
    "anchor_every": 1,
    "forecast": True,
    "verbose": True,
    "chart_to": lambda figure, step: None,
}


class Injected(Exception):
    pass


@dataclass(frozen=True)
class Call:
    """A function of a module, or a method or property of a class."""

    owner: Any
    name: str

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.name}" if isinstance(self.owner, type) else self.name

    def replace(self, patch: pytest.MonkeyPatch, wrap: Callable[[Any], Any]) -> None:
        old = vars(self.owner)[self.name]
        new = property(wrap(old.fget)) if isinstance(old, property) else wrap(old)
        patch.setattr(self.owner, self.name, new)
        # Where it was imported by name, too.
        for name, module in list(sys.modules.items()):
            if name.startswith(PACKAGE) and vars(module).get(self.name) is old:
                patch.setattr(module, self.name, new)


def calls_behind(callback: type) -> list[Call]:
    """Return what a callback may call: not what the framework or the loop calls, nor the guards."""
    found = [
        Call(accuracy_from_weights.predictor.pretrained, "load_predictor"),
        Call(accuracy_from_weights.features.describing, "describe_network"),
        Call(accuracy_from_weights.features.describing, "read_weights"),
        Call(accuracy_from_weights.features.probes, "probe"),
    ]
    own = [callback, base.AccuracyCallback]
    found += [Call(kind, name) for kind in own for name in methods(kind) if name not in ENTRANCES]
    others = [Informed, Patience]
    for module in (importlib.import_module(f"{PACKAGE}.{name}") for name in HELPERS):
        for name, part in vars(module).items():
            if getattr(part, "__module__", None) == module.__name__:
                if inspect.isfunction(part):
                    found.append(Call(module, name))
                elif inspect.isclass(part):
                    others.append(part)
    return found + [Call(kind, name) for kind in others for name in methods(kind)]


def methods(kind: type) -> list[str]:
    return [
        name
        for name, part in vars(kind).items()
        if not name.startswith("__")
        and (isinstance(part, property) or inspect.isfunction(part))
        and not hasattr(part, "__wrapped__")
    ]


def shipped(path: Any = None, features: str = "weights") -> Informed:
    return Informed(features=features)


def check_every_fault(make: Callable[[], Any], train: Callable[[Any], Any]) -> set[str]:
    """Train with a fault at each call that a run without faults makes; return those calls.

    Parameters
    ----------
    make
        Makes a callback without a predictor of its own, with `ALL_FEATURES` and a `Patience`. What
        is called here checks arguments and may raise.
    train
        Trains from equal seeds with a callback, or with None, and gives what training leaves.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accuracy_from_weights.predictor.pretrained, "load_predictor", shipped)
        expected = train(None)
        reached: set[Call] = set()

        def counted(call: Call, old: Callable) -> Callable:
            @functools.wraps(old)
            def count(*args: Any, **kwargs: Any) -> Any:
                reached.add(call)
                return old(*args, **kwargs)

            return count

        calls = calls_behind(type(make()))
        with pytest.MonkeyPatch.context() as inner:
            for call in calls:
                call.replace(inner, functools.partial(counted, call))
            callback = make()
            checks_of_arguments = set(reached)
            assert train(callback) == expected
        reached -= checks_of_arguments
        wrong = {}
        for call in (call for call in calls if call in reached):
            said = warnings_with_fault(call, make(), train, expected)
            if len(said) != 1:
                wrong[str(call)] = said
        assert not wrong, wrong
    names = {str(call) for call in reached}
    assert not ESSENTIAL - names
    return names


def warnings_with_fault(call: Call, callback: Any, train: Callable, expected: Any) -> list[str]:
    def failing(old: Any) -> Callable:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise Injected(str(call))

        return fail

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call.replace(patch, failing)
        left = train(callback)
    assert left == expected, f"with a fault in {call} training ended otherwise"
    return ours_among(caught)
