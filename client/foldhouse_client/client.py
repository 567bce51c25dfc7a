"""One class with a method for each call of the HTTP API."""

from __future__ import annotations

from foldhouse_client.datasets import Datasets
from foldhouse_client.following import Following
from foldhouse_client.keys import Keys
from foldhouse_client.models import Models
from foldhouse_client.predicting import Predicting
from foldhouse_client.webhooks import Webhooks


class Foldhouse(Datasets, Following, Keys, Models, Predicting, Webhooks):
    """A service at `url`, which defaults to FOLDHOUSE_URL or http://127.0.0.1:8000.

    `url` may leave out `http://`. `key` is an API key, by default FOLDHOUSE_KEY.
    `transport` lets a test answer instead of a network. Jobs and sweeps are followed by the same
    calls: `watch`, `events` and `wait`.
    """
