"""How the state of Stripe becomes the state of the router: `sync(object id)` and what calls it."""
