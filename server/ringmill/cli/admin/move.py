"""Moves of workers, watched from a terminal until they are done."""

from ringmill.cli import console
from ringmill.cli.admin.connect import Admin
from ringmill.cli.news import plural
from ringmill.cli.progress import Advance, progress
from ringmill.core.errors import Code, RingmillError
from ringmill.v1 import admin_pb2 as pb

GOES_ON = "the balancer goes on with it by itself: `ringmill workers` shows how far it is"


def move(admin: Admin, name: str, request: pb.MoveWorkersRequest) -> None:
    """Has workers moved and shows how far it is; for a dry run, what would be done."""
    try:
        if request.validate_only:
            _rehearse(admin, request)
        else:
            _watch(admin, name, request)
    except RingmillError as problem:
        raise _with_names(admin, problem) from None
    except KeyboardInterrupt:
        console.error(GOES_ON)
        raise


def _rehearse(admin: Admin, request: pb.MoveWorkersRequest) -> None:
    screen = console.out()
    last = pb.MoveWorkersResponse()
    for last in admin.move(request):
        if last.text:
            screen.print(last.text, markup=False)
    pause = f"; each waits about {console.seconds(last.pause_us / 1e6)} for its move" if last.pause_us else ""
    twice = " (there and back)" if request.restart_all and last.total else ""
    screen.print(f"would move {plural(last.total, 'partition')}{twice} and make {_copies(last.copies)}{pause}")
    if short := _shortage(admin.workers(), request):
        screen.print(f"afterwards {short}")
    screen.print("nothing was changed: leave out --dry-run to do it")


def _watch(admin: Admin, name: str, request: pb.MoveWorkersRequest) -> None:
    screen = console.out()
    last = pb.MoveWorkersResponse()
    with progress(name, 100) as advance:
        for last in admin.move(request):
            _show(last, advance)
    pause = f"; no key waited longer than {console.seconds(last.pause_us / 1e6)}" if last.pause_us else ""
    screen.print(f"done: moved {plural(last.moved, 'partition')}, made {_copies(last.copied)}{pause}")
    if short := _shortage(admin.workers(), request):
        screen.print(f"now {short}")


def _shortage(now: pb.ListWorkersResponse, request: pb.MoveWorkersRequest) -> str:
    """What it means that fewer workers are left than each key is to have copies; empty: there are enough."""
    match request.WhichOneof("move"):
        case "scale_to":
            left = request.scale_to
        case "drain":
            left = sum(
                worker.state in ("serving", "joining") and worker.name != request.drain for worker in now.workers
            )
        case _:
            return ""
    if left >= now.copies_wanted:
        return ""
    loss = "the next death loses keys" if left == 1 else "it is short of one for good"
    return f"each key has {_copies(left)} of {now.copies_wanted}: {loss}, until there are more workers"


def _show(step: pb.MoveWorkersResponse, advance: Advance) -> None:
    if step.text:
        console.out().print(step.text, markup=False)
    words = f"{step.moved:,} of {plural(step.total, 'partition')}"
    if step.copies:
        words += f", {step.copied:,} of {_copies(step.copies)}"
    advance(percent(step), words)


def percent(step: pb.MoveWorkersResponse) -> int:
    """How far it is, 0 to 100: moves and copies together."""
    total = step.total + step.copies
    return 100 if not total else min(100, 100 * (step.moved + step.copied) // total)


def _copies(count: int) -> str:
    return plural(count, "copy", "copies")


def _with_names(admin: Admin, problem: RingmillError) -> RingmillError:
    """An unknown worker is answered by those that there are."""
    if problem.code is not Code.NOT_FOUND:
        return problem
    names = [worker.name for worker in admin.workers().workers]
    if any(name in problem.message for name in names):
        return problem
    return RingmillError(problem.code, f"{problem.message}: there are {', '.join(names) or 'no workers'}")
