"""`ringmill send`."""


def send() -> int:
    return 0
