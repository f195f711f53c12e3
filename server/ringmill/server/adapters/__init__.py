"""Where the worker meets the network: its link to the balancer and its own public port."""
