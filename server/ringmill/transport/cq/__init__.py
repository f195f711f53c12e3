"""Streams over gRPC's completion queue, driven by the thread that handles them.

grpcio's public stacks hand every message from one thread to another; that hand-over costs more than the message. This
package stands on the layer below them, `grpc._cython.cygrpc`, where one thread waits for a completed operation and
handles it in place. The layer is private to grpcio (its own synchronous stack is built on it): pyproject.toml pins the
minor release, `boundary.py` names all that is used of it, a self-test at start (`transport/selftest.py`) checks that it
still works, and `transport/aio` stands in where it does not. See docs/decisions/0008.
"""
