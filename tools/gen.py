"""Generates the Python code of the contract: `make gen`."""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
OUT = ROOT / "clients" / "python"


def main() -> int:
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    include = files("grpc_tools") / "_proto"
    outputs = [f"--python_out={OUT}", f"--pyi_out={OUT}", f"--grpc_python_out={OUT}"]
    return int(protoc.main(["protoc", f"--proto_path={PROTO}", f"--proto_path={include}", *outputs, *sources]))


if __name__ == "__main__":
    sys.exit(main())
