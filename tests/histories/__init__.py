"""Random lives of a customer at a simulated Stripe, and what the documentation says must follow from them."""
