"""What one writes with Flask in an afternoon: verify with the SDK, store the payload, answer."""

import json
import os

import psycopg_pool  # of the peers' own interpreter, as everything here
import stripe
from flask import Flask, request
from psycopg.types.json import Jsonb

app = Flask(__name__)
pool = psycopg_pool.ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=8, open=False)


@app.post("/webhook")
def webhook() -> dict[str, bool]:
    """200 once the event is stored."""
    body = request.get_data()
    event = stripe.Webhook.construct_event(
        body, request.headers["Stripe-Signature"], os.environ["STRIPE_WEBHOOK_SECRET"]
    )
    pool.open()
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO events (id, type, payload) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (event["id"], event["type"], Jsonb(json.loads(body))),
        )
    return {"received": True}
