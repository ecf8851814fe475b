"""The smallest Django site with dj-stripe. An event is processed before it is answered, by default; with
LEAVE_TO_A_QUEUE it is stored and handed to a callback, dj-stripe's own way of answering before the work is
done.
"""

# mypy: ignore-errors

import os

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

_OPTIONAL = {}
if os.environ.get("LEAVE_TO_A_QUEUE"):
    _OPTIONAL["DJSTRIPE_WEBHOOK_EVENT_CALLBACK"] = f"{__name__}.leave_to_a_queue"
if os.environ.get("STRIPE_API_HOST"):
    _OPTIONAL["STRIPE_API_HOST"] = os.environ["STRIPE_API_HOST"]
settings.configure(
    SECRET_KEY="example",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    MIDDLEWARE=[],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djstripe"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "HOST": os.environ["PGHOST"],
            "CONN_MAX_AGE": None,
        }
    },
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    STRIPE_LIVE_MODE=False,
    STRIPE_TEST_SECRET_KEY="sk_test_" + "e" * 24,  # it refuses keys of another length
    **_OPTIONAL,
)


def leave_to_a_queue(_trigger, api_key) -> None:
    """Costs nothing here."""


django.setup()


def prepare() -> None:
    """Make the tables and the endpoint, and print the endpoint's path."""
    from djstripe.models import WebhookEndpoint

    call_command("migrate", verbosity=0)
    endpoint = WebhookEndpoint.objects.create(
        id="we_1",
        secret=os.environ["STRIPE_WEBHOOK_SECRET"],
        url="https://shop.example.com",
        enabled_events=["*"],
        status="enabled",
        livemode=False,
        stripe_data={},
    )
    print(f"/stripe/webhook/{endpoint.djstripe_uuid}/")


urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
application = get_wsgi_application()
