"""``radnode bench``: the node beside its peers, in one run on one machine, told as ratios. Measures; asserts nothing."""
