"""Judge descriptions of networks: accuracy, interval, and whether to believe either."""
