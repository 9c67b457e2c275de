"""The benchmark of GPUs, small and on the processor, so that it works when there is a GPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu


def test_every_row_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--device", "cpu", "--tiny"])
    lines = capsys.readouterr().out.splitlines()
    rows = dict(line.strip("| ").split(" | ") for line in lines[2:])
    assert rows["largest difference of a weight, the paper's"] == "0.0e+00"
    assert rows["largest difference of an accuracy, residual"] == "0.000"
    for what in (
        "the paper's network, 2 at once",
        "resnet, 1 at once, one core",
        "lstm, 2 at once",
    ):
        assert float(rows[what].split()[0].replace(",", "")) > 0
    assert rows["estimate of a ResNet-18"].endswith(" ms")
    for features in ("weights", "weights+probes"):
        assert rows[f"Monitor, {features}"].endswith("training unchanged")
    assert not any("no time" in row for row in rows.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_told_so() -> None:
    with pytest.raises(SystemExit, match="no GPU here"):
        gpu.main([])
