"""The vendor's server: it holds the Stripe key, sells to many routers and gives each of them what is its
own.
"""
