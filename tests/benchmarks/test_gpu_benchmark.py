"""The benchmark of GPUs, small and on the processor, so that it works when there is a GPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import gpu


def test_every_row_is_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    gpu.main(["--device", "cpu", "--tiny", "--output", str(file)])
    lines = capsys.readouterr().out.splitlines()
    rows = dict(line.strip("| ").split(" | ") for line in lines[2:])
    (title, _), *written = json.loads(file.read_text()).items()
    assert title.startswith("PyTorch ")
    assert written == list(rows.items())
    assert rows["dropout's random bytes, by plain operations"] == "those of NumPy"
    assert rows["largest difference of a weight, the paper's"] == "0.0e+00"
    assert rows["largest difference of an accuracy, resnet"] == "0.000"
    for what in (
        "the paper's network, 2 at once",
        "resnet of 77,898 weights, 1 at once, one core",
        "lstm of 45,066 weights, 2 at once",
    ):
        assert float(rows[what].split()[0].replace(",", "")) > 0
    assert rows["description of a ResNet-18, weights"].endswith(" ms")
    assert rows["estimate of a ResNet-18, weights"].endswith(" ms")
    for features in ("weights", "weights+probes"):
        assert rows[f"Monitor, {features}"].endswith("training unchanged")
    assert not any("no time" in row or "FAILED" in row for row in rows.values())


def test_what_fails_costs_no_other_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(device: torch.device, tiny: bool) -> Iterator[gpu.Row]:
        """Fail in the middle."""
        yield "before", "1"
        raise RuntimeError("of no use")

    monkeypatch.setattr(gpu, "sections", lambda _: [fail, gpu.random_streams])
    gpu.main(["--device", "cpu", "--tiny"])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| before | 1 |",
        "| Fail in the middle. | FAILED: RuntimeError: of no use |",
        "| dropout's random bytes, by plain operations | those of NumPy |",
    ]
    gpu.main(["--device", "cpu", "--tiny", "--seconds", "0"])
    assert "| Fail in the middle. | no time left |" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_told_so() -> None:
    with pytest.raises(SystemExit, match="no GPU here"):
        gpu.main([])
