"""What ties the pure balancer to streams: the public service and the links of workers."""
