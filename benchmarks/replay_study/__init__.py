"""Parts of ``benchmarks/early_stopping.py`` and ``benchmarks/forecast.py``."""
