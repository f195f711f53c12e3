"""Refuses a change of the contract that breaks a client: `buf breaking` against the last release or commit."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sys.executable).with_name("buf")


def baseline() -> str | None:
    """The newest tag, or else the first commit that holds the contract; None in a tree without history."""
    tag = git("describe", "--tags", "--abbrev=0")
    if tag:
        return f"tag={tag}"
    commits = git("log", "--reverse", "--format=%H", "--", "proto").split()
    return f"ref={commits[0]}" if commits else None


def git(*arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def main() -> int:
    against = baseline()
    if against is None:
        print("no history to compare the contract with")
        return 0
    return subprocess.run(
        [str(BUF), "breaking", "--against", f".git#{against}", "--path", "proto/ringmill/v1"], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
