"""A job that is followed by its events: drawn on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.cli import display
from app.cli.display import Json, console, one_line, say, styled
from models.figures import number

if TYPE_CHECKING:
    from foldhouse_client import Foldhouse
    from foldhouse_client.events import Event

MOST_FOLDS = 10  # that are drawn
CURVE_WIDTH = 24  # characters
BARS = "▁▂▃▄▅▆▇█"
LOST = "[yellow]The connection was lost. Waiting for the service …[/]"
LINES = 10  # of progress, of a job that is not drawn


def follow(client: Foldhouse, job_id: str) -> Json:
    """Show a job's events until it has finished; returns the job."""
    is_drawn = console.is_terminal and not console.is_dumb_terminal
    with Drawing() if is_drawn else Printing() as view:
        for event in client.events(job_id, on_lost=lambda: say(LOST)):
            view.show(event)
    return client.job(job_id)


class Following:
    """What a job's events have come to."""

    def __init__(self) -> None:
        self.status, self.attempt = "queued", 0
        self.progress: Json | None = None
        # By shard and fold: its rows by epoch, because a run that resumes reports some again.
        self.epochs: dict[tuple[int, int], dict[int, Json]] = {}
        self.scored: dict[tuple[int, int], Json] = {}

    def take(self, event: Event) -> None:
        data = event["data"]
        if event["event"] == "state":
            self.status, self.attempt = data["status"], data["attempt"]
        elif event["event"] == "epoch":
            self.progress = data["progress"]
            for row in data["epochs"]:
                self.epochs.setdefault((data["shard"], row["fold"]), {})[row["epoch"]] = row
        elif event["event"] == "fold":
            self.scored[data["shard"], data["fold"]] = data["metrics"]

    @property
    def fraction(self) -> float:
        if self.status == "succeeded":
            return 1.0
        return self.progress["fraction"] if self.progress else 0.0

    def note(self) -> str:
        """The epoch and the remaining time."""
        if self.progress is None:
            return ""
        return display.note(
            {"status": self.status, "progress": self.progress, "attempt": self.attempt}
        )


class Printing:
    """A line for each change of state, each tenth of the way, and each fold's score."""

    def __init__(self) -> None:
        self._following = Following()
        self._lines = 0

    def __enter__(self) -> Printing:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event) -> None:
        job, data = self._following, event["data"]
        job.take(event)
        if event["event"] == "state":
            say(styled(job.status) + one_line(f"  {data['detail']}" if data["detail"] else ""))
        elif event["event"] == "fold":
            say(f"fold {data['fold']}: {display.best_known(data['metrics'])}")
        elif job.fraction * LINES >= self._lines + 1:
            self._lines = int(job.fraction * LINES)
            say(f"{styled(job.status)} {job.fraction:4.0%}  {job.note()}")


class Drawing:
    """A bar with the remaining time, and below it the losses of each fold."""

    def __init__(self) -> None:
        self._following = Following()
        self._bar = bar()
        self._task = self._bar.add_task("queued", total=1.0, note="")
        # The result that follows has the folds too.
        self._live = Live(self._bar, console=console, transient=True)

    def __enter__(self) -> Drawing:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        job, data = self._following, event["data"]
        job.take(event)
        self._bar.update(
            self._task, description=styled(job.status), completed=job.fraction, note=job.note()
        )
        if event["event"] == "state" and data["detail"]:
            say(one_line(data["detail"]))
        self._live.update(Group(self._bar, losses(job)))


def bar() -> Progress:
    """Of one task, with a note."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=display.console,
    )


def losses(job: Following) -> Table:
    """A row for each fold: its last losses, the curve of the validation loss, and its score."""
    table = Table(box=None, pad_edge=False)
    for header in ("fold", "epoch", "train loss", "validation loss"):
        table.add_column(header, justify="right")
    table.add_column("curve")
    table.add_column("")
    for place in sorted(job.epochs)[:MOST_FOLDS]:
        rows = [row for _, row in sorted(job.epochs[place].items())]
        scored = job.scored.get(place)
        table.add_row(
            str(place[1]),
            str(rows[-1]["epoch"]),
            number(rows[-1]["train_loss"]),
            number(rows[-1]["validation_loss"]),
            curve([row["validation_loss"] for row in rows]),
            display.best_known(scored) if scored else "",
        )
    if len(job.epochs) > MOST_FOLDS:
        table.add_row("…", "", "", "", f"{len(job.epochs) - MOST_FOLDS} more", "")
    return table


def curve(values: Sequence[float | None]) -> str:
    """A sketch of positive numbers on a logarithmic scale; others have no place in it.

    >>> curve([8.0, 4.0, None, 2.0, 1.0])
    '█▅ ▃▁'
    """
    step = max(1.0, len(values) / CURVE_WIDTH)
    # The last value is always there.
    places = [math.ceil((place + 1) * step) - 1 for place in range(int(len(values) / step))]
    logs = [_log(values[place]) for place in places]
    known = [value for value in logs if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if v is None else BARS[round((v - low) * scale)] for v in logs)


def _log(value: Any) -> float | None:
    return math.log(value) if value is not None and value > 0 else None
