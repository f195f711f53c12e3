"""Streams over grpc.aio, gRPC's public asyncio interface: the reference for the fast twin in `cq`, and its fallback."""
