"""The programs that run the peers: each takes webhooks and stores Stripe's objects in PostgreSQL."""
