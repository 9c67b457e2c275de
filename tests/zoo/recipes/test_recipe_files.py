from __future__ import annotations

from pathlib import Path

import pytest

from accuracy_from_weights.errors import UnreadableFileError, ZooError
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe_files import FAMILIES, load_recipe
from tests.zoo.recipes.writing import as_toml


@pytest.mark.parametrize("family", list(FAMILIES))
def test_by_name_and_through_a_file(tmp_path: Path, family: str) -> None:
    recipe = load_recipe(family)
    assert recipe.family == family
    path = tmp_path / "recipe.toml"
    path.write_text(as_toml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text('family = "paper"\nepochs = 2\ncheckpoints = [0, 2]\n')
    assert load_recipe(path) == PaperRecipe(epochs=2, checkpoints=(0, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs = 2\n", "names the family None"),
        ('family = "tame"\n', "'tame'"),
        ('family = "paper"\nepoch = 2\n', "epoch"),
        ('family = "paper"\nepochs = "two"\n', "epochs is 'two', .* of the type of 18"),
        ('family = "paper"\nepochs = true\n', "epochs is True"),
        ('family = "wild"\nsizes = [8, "9"]\n', "sizes is .* of the type"),
        ('family = "wild"\nmax_steps = 0\n', "at least 1"),
        ('family = "wild"\nbudget = nan\n', "a budget"),
        ('family = "wild"\nshare_untrained = nan\n', "do not lie between 0 and 1"),
        ("family = " + "[" * 5000, "maximum recursion depth"),
        ('family = "paper"\nepochs = 1\n', "are not within 1 epochs"),
    ],
)
def test_files_that_say_the_wrong_thing(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(content)
    with pytest.raises((ZooError, UnreadableFileError), match=message):
        load_recipe(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="No such file"):
        load_recipe(tmp_path / "missing.toml")
    (tmp_path / "broken.toml").write_text("family =")
    with pytest.raises(UnreadableFileError, match=r"broken\.toml"):
        load_recipe(tmp_path / "broken.toml")
