"""A sweep that is followed: drawn on a terminal, as plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live

from app.cli import display, display_sweeps, live
from app.cli.display import Json, one_line, say, styled

if TYPE_CHECKING:
    from foldhouse_client import Foldhouse


def follow(client: Foldhouse, sweep_id: str) -> Json:
    """Show a sweep each time it has changed, until it has finished; returns it."""
    sweep: Json = {}
    is_drawn = display.console.is_terminal and not display.console.is_dumb_terminal
    with Drawing() if is_drawn else Printing() as view:
        for sweep in client.watch(sweep_id):
            view.show(sweep)
    return sweep


class Printing:
    """A line for each change of state, each tenth of the way, and each trial that is the best."""

    def __init__(self) -> None:
        self._status, self._tenths = "", 0
        self._best: int | None = None

    def __enter__(self) -> Printing:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, sweep: Json) -> None:
        fraction = sweep["progress"]["fraction"]
        status = display_sweeps.status(sweep)
        if status != self._status:
            self._status = status
            say(styled(status))
        if sweep["best"] is not None and sweep["best"]["trial"] != self._best:
            self._best = sweep["best"]["trial"]
            say(one_line(f"best so far: {display_sweeps.best(sweep)}"))
        if status == "running" and fraction * live.LINES >= self._tenths + 1:
            self._tenths = int(fraction * live.LINES)
            say(f"{styled(status)} {fraction:4.0%}  {display_sweeps.note(sweep)}")


class Drawing:
    """A bar with the remaining time, and below it the best trial so far."""

    def __init__(self) -> None:
        self._bar = live.bar()
        self._task = self._bar.add_task("queued", total=1.0, note="")
        self._live = Live(self._bar, console=display.console, transient=True)

    def __enter__(self) -> Drawing:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, sweep: Json) -> None:
        self._bar.update(
            self._task,
            description=styled(display_sweeps.status(sweep)),
            completed=sweep["progress"]["fraction"],
            note=display_sweeps.note(sweep),
        )
        best = "" if sweep["best"] is None else f"best so far: {display_sweeps.best(sweep)}"
        self._live.update(Group(self._bar, one_line(best)))
