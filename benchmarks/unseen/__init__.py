"""Networks of which nothing is fitted, and the program that judges predictors on them."""
