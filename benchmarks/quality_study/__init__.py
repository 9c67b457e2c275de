"""The study of estimated against measured accuracy; `benchmarks/quality.py` is its command."""
