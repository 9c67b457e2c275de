"""Train zoos of networks: data sets, tasks, engines, backends and the builder."""
