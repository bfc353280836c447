"""A Ray cluster as an agent: Ray finds the node for each run, the gateway keeps the queue. We write no scheduler."""

PROTOCOL = 1
"""What gateway and nodes say to each other; grows with every change that an older node can't work with."""
