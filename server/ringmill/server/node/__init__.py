"""What a worker does under a balancer, as a state machine: parts, copies, views and handovers. No IO, no clock."""
