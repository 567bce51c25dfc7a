"""Registered models and their aliases."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from foldhouse_client.connection import Connection, Json
from foldhouse_client.files import unpack


class Models(Connection):
    """Calls about models."""

    def models(self) -> Iterator[Json]:
        """Registered models, newest first."""
        return self._pages("/v1/models", {})

    def model(self, model: str = "champion") -> Json:
        return self._json("GET", f"/v1/models/{model}")

    def monitoring(self, model: str = "champion") -> Json:
        """The model's recent use, and the drift of each column."""
        return self._json("GET", f"/v1/models/{model}/monitoring")

    def delete_model(self, model: str) -> None:
        """Delete a model. No alias may point at it."""
        self._send("DELETE", f"/v1/models/{model}")

    def aliases(self) -> dict[str, str]:
        """The id of the model that each alias points at."""
        listed = self._json("GET", "/v1/aliases")["data"]
        return {alias["alias"]: alias["model_id"] for alias in listed}

    def promote(
        self,
        model: str,
        alias: str = "champion",
        *,
        if_better_than: str | None = None,
        force: bool = False,
        protected: bool | None = None,
    ) -> Json:
        """Point an alias at a model.

        Parameters
        ----------
        if_better_than: a model or an alias. The alias moves only if the error of `model` is lower
            by more than 1.645 standard errors of the difference.
        force: move it in any case, even to a model of another target.
        protected: whether from now on only admins move or delete it.
        """
        body: Json = {"model_id": model}
        if if_better_than is not None:
            body["if_better_than"] = if_better_than
        if force:
            body["force"] = True
        if protected is not None:
            body["protected"] = protected
        return self._json("PUT", f"/v1/aliases/{alias}", json=body)

    def roll_back(self, alias: str = "champion") -> Json:
        """Point an alias at its previous model."""
        return self._json("POST", f"/v1/aliases/{alias}/rollback")

    def export(self, model: str, folder: str | Path) -> None:
        """Save a model's files in a new folder, with a script that predicts without the service.

        Raises
        ------
        OSError: the folder is not empty or not writable.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Moved there whole at the end.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".foldhouse-") as scratch:
            archive, unpacked = Path(scratch) / "export.zip", Path(scratch) / "export"
            self._download(archive, "GET", f"/v1/models/{model}/export")
            unpacked.mkdir()
            unpack(archive, unpacked)
            unpacked.replace(folder)
