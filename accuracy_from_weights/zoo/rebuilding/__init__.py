"""Networks of a zoo, rebuilt from their files so that they can be run."""
