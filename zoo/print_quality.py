"""Print what the cards of the shipped predictors say of their quality, as Markdown.

python zoo/print_quality.py
"""

from __future__ import annotations

from accuracy_from_weights.predictor.pretrained import load_predictor, shipped_feature_sets


def main() -> None:
    """Print a row a data set and kind of network, and columns for each choice of features."""
    shipped = shipped_feature_sets()
    cards = {features: load_predictor(features=features).card_ for features in shipped}
    parts = {
        features: {"all": card["quality"], **card["quality"]["by_domain"]}
        for features, card in cards.items()
    }
    print("| networks | " + " | ".join(f"`{features}`" for features in shipped) + " |")
    print("|---|" + "---|" * len(shipped))
    for name in parts["weights"]:
        cells = []
        for features in shipped:
            part = parts[features][name]
            cells.append(
                f"{part['r2']:.2f} / {part['kendall_tau']:.2f} / "
                f"{100 * part['mean_absolute_error']:.1f} / {part['coverage']:.0%}"
            )
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
