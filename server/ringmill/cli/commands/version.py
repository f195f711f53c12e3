"""`ringmill version`."""

from ringmill.cli import console


def version() -> None:
    """Print the versions of ringmill and of what its machine code depends on.

    [dim]$ ringmill version[/dim]
    """
    import platform
    from importlib import metadata

    console.out().print(f"ringmill {metadata.version('ringmill')}")
    parts = [f"Python {platform.python_version()}"]
    parts += [f"{name} {metadata.version(name)}" for name in ("numba", "llvmlite", "numpy", "grpcio", "protobuf")]
    console.out().print(", ".join(parts))
