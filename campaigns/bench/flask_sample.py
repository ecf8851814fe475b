"""The baseline for webhooks: the design of Stripe's own Flask sample, rewritten.

It verifies the signature with the SDK, looks at the event's type and answers; it stores nothing, so a power
cut after its 200 loses the payment.
"""

import argparse

import stripe
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue


def make_app(webhook_secret: str) -> Flask:
    """The sample as a WSGI application with the one route `POST /api/payments/webhook`."""
    app = Flask(__name__)

    @app.post("/api/payments/webhook")
    def webhook() -> ResponseReturnValue:
        try:
            event = stripe.Webhook.construct_event(
                request.get_data(), request.headers.get("Stripe-Signature", ""), webhook_secret
            )
        except (ValueError, stripe.SignatureVerificationError):
            return jsonify(error="bad request"), 400
        if event["type"] == "payment_intent.succeeded":
            return jsonify(status="success")
        return jsonify(status="ignored")

    return app


def main() -> None:
    """Serves the sample as its documentation says: Werkzeug's threaded server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secret", required=True)
    options = parser.parse_args()
    make_app(options.secret).run(port=options.port, threaded=True)


if __name__ == "__main__":
    main()
