"""Many trials on one table: what may be searched, and which points of it are tried."""
