"""The web application: pages rendered here, which call the services that the API calls."""

from app.web import datasets, home, lessons, models
from app.web.jobs import pages as jobs

ROUTERS = tuple(part.router for part in (jobs, datasets, models, lessons, home))
