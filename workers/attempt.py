"""The child process: trains one shard, then ends.

    python -m workers.attempt DESCRIPTOR

DESCRIPTOR is the pipe for its reports (`workers.protocol`). It waits for its order with everything
imported, never touches the database, and dies when its supervisor does. It leaves by `os._exit`:
no thread of a library may keep it.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import sys
import threading
from pathlib import Path

from setproctitle import setproctitle

from app.storage.blobs import Blobs
from workers.checkpoints import Checkpoints
from workers.protocol import Order

logger = logging.getLogger(__name__)

STANDARD_INPUT = 0
SUPERVISOR_GONE = 70  # exit code


def main() -> None:
    threading.Thread(target=die_with_supervisor, daemon=True).start()
    setproctitle("workers.attempt (spare)")
    # Takes seconds, in which the supervisor may die.
    from workers.host import Host, train, warm_up

    warm_up()
    supervisor = socket.socket(fileno=STANDARD_INPUT)
    # The lock file comes with the first byte; it stays open, so locked, while this process lives.
    first_byte, _lock, _, _ = socket.recv_fds(supervisor, 1, 1)
    if not first_byte:
        os._exit(SUPERVISOR_GONE)
    orders = supervisor.makefile("rb")
    path = orders.readline().decode().removesuffix("\n")
    order = Order.model_validate_json(Path(path).read_bytes())
    setproctitle(f"workers.attempt {order.job_id}")
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s %(levelname)s %(name)s job {order.job_id}: %(message)s",
    )
    for chatty in ("onnx_ir", "onnxscript"):  # pages on what they optimise
        logging.getLogger(chatty).setLevel(logging.WARNING)
    blobs = Blobs(order.storage_url)
    reports = os.fdopen(int(sys.argv[1]), "w")
    host = Host(reports, Checkpoints(blobs, order.shard_id, order.workdir))
    threading.Thread(target=host.obey, args=(orders,), daemon=True).start()
    host.send(train(order, host, blobs))


def die_with_supervisor() -> None:
    """It holds the other end of standard input, and never closes it while this process lives."""
    poll = select.poll()
    poll.register(STANDARD_INPUT, select.POLLRDHUP)
    poll.poll()
    os._exit(SUPERVISOR_GONE)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        logger.exception("the attempt broke off")
        os._exit(1)
    os._exit(0)
