"""The HTTP face: `stripe-payments.http request`, which the web server's gateway calls with whatever it
was sent.
"""
