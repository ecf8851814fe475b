"""Builders: each returns a complete API object of the pinned version, with everything unused at Stripe's
own default.
"""
