"""The order bench: recorded lives of subscriptions, delivered in every order to the hub and to its peers."""
