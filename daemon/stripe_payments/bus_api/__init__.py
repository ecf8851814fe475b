"""The ubus face: the object `stripe-payments`, one table of methods (`methods.METHODS`)."""
