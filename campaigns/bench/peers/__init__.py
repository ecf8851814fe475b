"""Webhook receivers that people would pick instead of the hub, each with the programs that run it."""
