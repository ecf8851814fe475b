"""The HTTP API: `stripe-payments.http request`, called by the web server's gateway with each HTTP request."""
