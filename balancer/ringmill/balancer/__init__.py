"""The balancer: membership and routing as pure state machines, and the adapters that serve them."""
