"""Many routers on one Stripe account, event by event, with the daemon's own scheduling code.

What is simulated is everything around it: Stripe's limits and outages, the way there, power and buyers. When
a router asks, and what, is decided by `stripe_payments.sync.poll_plan.Plan`, the object that the daemon's
poller has; how often a request is repeated, and when, by the pinned SDK's own functions.
"""
