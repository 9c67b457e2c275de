"""What trackers keep of past runs: one file a tracker, imported when it is used.

In a running training no file of this package is needed: the callbacks log where their framework
logs, and `Monitor` calls any tracker's function.
"""
