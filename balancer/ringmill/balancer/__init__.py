"""The balancer: view manager and router as pure state machines, and the adapters that serve them."""
