"""A whole router and a whole Stripe on one machine, speaking the real wires. Never shipped to a router."""
