from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from accuracy_from_weights.cli import main
from accuracy_from_weights.cli.progress import progress_bar
from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.store import ZooStore

WriteZoo = Callable[..., Path]
RECIPE = 'family = "paper"\nepochs = 1\ncheckpoints = [0, 1]\nn_train = 100\nn_test = 50\n'


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_build_then_look(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    build = ("zoo", "build", "--data", "digits", "--recipe", tmp_path / "tiny.toml")
    built = run(*build, "--networks", 3, "--output", tmp_path / "zoo", "--dtype", "float16")
    assert built.exit_code == 0, built.output
    assert built.stdout == ""
    assert "Training networks" in built.stderr
    assert ZooStore(tmp_path / "zoo").indices() == [0, 1, 2]
    again = run(*build, "--networks", 3, "--output", tmp_path / "zoo", "--seed", 1)
    assert again.exit_code == 1
    assert "was begun with another seed" in again.stderr
    assert "Traceback" not in again.stderr

    info = run("zoo", "info", tmp_path / "zoo", "--plot", tmp_path / "zoo.png")
    assert info.exit_code == 0
    assert "3 networks, 6 checkpoints, 0 networks diverged" in info.stdout
    assert "train_fraction" in info.stdout
    assert (tmp_path / "zoo.png").read_bytes().startswith(b"\x89PNG")

    described = run("zoo", "describe", tmp_path / "zoo", "--output", tmp_path / "table.npz")
    assert described.exit_code == 0
    assert len(read_zoo(tmp_path / "table.npz")) == 6


def test_a_network_is_rebuilt_from_its_number(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    what = ("--data", "digits", "--recipe", tmp_path / "tiny.toml", "--seed", 3)
    assert run("zoo", "build", *what, "--networks", 3, "--output", tmp_path / "zoo").exit_code == 0
    rebuilt = run("zoo", "rebuild", 2, *what, "--output", tmp_path / "two.npz")
    assert rebuilt.exit_code == 0, rebuilt.stderr
    stored = ZooStore(tmp_path / "zoo").read(2)
    answer = json.loads(rebuilt.stdout)
    assert answer["recipe"] == stored.header["recipe"]
    np.testing.assert_allclose(
        answer["history"]["test_accuracy"], stored.header["history"]["test_accuracy"], atol=0.005
    )
    with np.load(tmp_path / "two.npz") as file:
        for name, values in stored.state_dict(-1).items():
            np.testing.assert_allclose(file[name], values, rtol=1e-4, atol=1e-5)
    wrong = run("zoo", "rebuild", 2, *what, "--output", tmp_path / "two.pt")
    assert wrong.exit_code == 1
    assert "end in .npz" in wrong.stderr


def test_a_zoo_names_its_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.toml").write_text('family = "paper"\nepochs = 1\ncheckpoints = [0, 1]\n')
    built = run("zoo", "build", "--data", "digits", "--recipe", "short.toml", "--networks", 1)
    assert built.exit_code == 0, built.stderr
    assert ZooStore.is_store(tmp_path / "digits-short")


def test_export_and_import(tmp_path: Path, published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    assert run("zoo", "import", folder, "--output", tmp_path / "in").exit_code == 0
    assert run("zoo", "export", tmp_path / "in", "--output", tmp_path / "out").exit_code == 0
    exported = np.load(tmp_path / "out" / "weights.npy")
    np.testing.assert_array_equal(exported, np.load(folder / "weights.npy"))


def test_info_as_json(published_zoo: WriteZoo, tmp_path: Path) -> None:
    published_zoo(folder=tmp_path / "zoos" / "a")
    published_zoo(folder=tmp_path / "zoos" / "b", n_runs=5)
    info = run("zoo", "info", tmp_path / "zoos", "--json")
    first, second = json.loads(info.stdout)
    assert (first["name"], first["networks"], first["checkpoints"]) == ("a", 12, 36)
    assert (second["name"], second["networks"]) == ("b", 5)
    assert sum(first["histogram"]) == 12
    assert first["recipe"]["activation"] == {"relu": 6, "tanh": 6}
    assert first["recipe"]["learning_rate"] == {"least": 0.001, "greatest": 0.012}


def test_info_of_a_table(published_zoo: WriteZoo, tmp_path: Path) -> None:
    folder = published_zoo()
    missing = run("zoo", "describe", folder, "--output", tmp_path / "tables/t.npz")
    assert missing.exit_code == 1
    assert "No such file" in missing.stderr
    (tmp_path / "tables").mkdir()
    assert run("zoo", "describe", folder, "--output", tmp_path / "tables/t.npz").exit_code == 0
    (of_folder,) = json.loads(run("zoo", "info", folder, "--json").stdout)
    (of_table,) = json.loads(run("zoo", "info", tmp_path / "tables", "--json").stdout)
    for key in ("networks", "checkpoints", "final_accuracy", "histogram"):
        assert of_table[key] == of_folder[key]
    assert of_table["datasets"] == {"published": 12}


def test_info_says_where_the_last_checkpoints_end(published_zoo: WriteZoo) -> None:
    folder = published_zoo()
    (summary,) = json.loads(run("zoo", "info", folder, "--json").stdout)
    final = read_zoo(folder).accuracy[2::3]
    assert summary["final_accuracy"]["median"] == pytest.approx(np.median(final))
    assert summary["histogram"] == np.histogram(final, 20, (0, 1))[0].tolist()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["zoo", "info", "{}/nothing"], 1, "does not exist. Name a zoo"),
        (["zoo", "describe", "{}", "--output", "{}/table.csv"], 1, "end in .npz"),
        (["zoo", "describe", "{}", "--output", "{}/table.npz"], 1, "is not a zoo"),
        (["zoo", "build", "--data", "digits", "--output", "{}"], 2, "--networks"),
        (
            ["zoo", "build", "--data", "nix", "--networks", "1", "--output", "{}"],
            1,
            "is no data set and no file",
        ),
        (
            ["zoo", "build", "--data", "digits", "--networks", "1", "--output", "{}",
             "--recipe", "{}/missing.toml"],
            4,
            "is no recipe",
        ),
    ],
)  # fmt: skip
def test_mistakes_get_one_sentence(
    tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    result = run(*(word.format(tmp_path) for word in words))
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_shows_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now, stream = [0.0], Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("Training", per_hour="networks", clock=lambda: now[0]) as report:
        report(100, 1000)
        for done in range(101, 201):
            now[0] += 2
            report(done, 1000)
    # What an earlier run had done does not count as speed.
    assert "1,800 networks an hour" in stream.getvalue()
    assert "200/1000" in stream.getvalue()


def test_bar_writes_a_line_a_minute_to_a_log_file(monkeypatch: pytest.MonkeyPatch) -> None:
    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("Training", per_hour="networks", clock=lambda: now[0]) as report:
        for done in range(182):
            report(done, 181)
            now[0] += 1
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "Training",
        "Training: 60 of 181",
        "Training: 120 of 181",
        "Training: 180 of 181",
    ]
