"""The web application: pages rendered here, which call the services that the API calls."""

from app.web import datasets, home, lessons, models, sign_in, sign_on
from app.web.jobs import pages as jobs
from app.web.sweeps import pages as sweeps

ROUTERS = (
    *(part.router for part in (jobs, sweeps, datasets, models, lessons, sign_in, sign_on, home)),
    sign_in.calls,
    sign_on.calls,
)
