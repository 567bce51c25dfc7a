"""The child process: trains one shard, then ends.

It is forked with everything imported (`workers.process`), never touches the database, and dies when
its supervisor does. It leaves by `os._exit`: no thread of a library may keep it.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from setproctitle import setproctitle

from app.logs import CONTEXT, log_to_terminal
from app.settings import Settings
from app.storage.blobs import Blobs
from workers.checkpoints import Checkpoints
from workers.protocol import Order

logger = logging.getLogger(__name__)

SUPERVISOR_GONE = 70  # exit code


def main(supervisor: socket.socket, reports: Connection) -> None:
    """The process, from its fork to its end."""
    os.setsid()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print
    threading.Thread(target=die_with_supervisor, args=(supervisor,), daemon=True).start()
    try:
        run(supervisor, reports)
    except BaseException:
        logger.exception("the attempt failed")
        os._exit(1)
    os._exit(0)


def run(supervisor: socket.socket, reports: Connection) -> None:
    """Carry out the order that comes first."""
    from workers.training.run import (  # torch: the supervisor, which imports this, has no use
        SupervisedRun,
        train,
    )

    # The lock file comes with the first byte; it stays open, so locked, while this process lives.
    first_byte, _lock, _, _ = socket.recv_fds(supervisor, 1, 1)
    if not first_byte:
        os._exit(SUPERVISOR_GONE)
    orders = supervisor.makefile("rb")
    path = orders.readline().decode().removesuffix("\n")
    order = Order.model_validate_json(Path(path).read_bytes())
    setproctitle(f"workers.training.attempt {order.job_id}")
    CONTEXT.set({"job": order.job_id, "request_id": order.request_id})
    log_to_terminal(Settings())
    for chatty in ("onnx_ir", "onnxscript"):  # pages on what they optimise
        logging.getLogger(chatty).setLevel(logging.WARNING)
    blobs = Blobs(order.storage_url)
    lines = os.fdopen(reports.fileno(), "w", closefd=False)
    supervised = SupervisedRun(lines, Checkpoints(blobs, order.shard_id, order.workdir))
    threading.Thread(target=supervised.obey, args=(orders,), daemon=True).start()
    supervised.send(train(order, supervised, blobs))


def die_with_supervisor(supervisor: socket.socket) -> None:
    """It holds the other end, and never closes it while this process is to live."""
    poll = select.poll()
    poll.register(supervisor, select.POLLRDHUP)
    poll.poll()
    os._exit(SUPERVISOR_GONE)
