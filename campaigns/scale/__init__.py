"""The hub with a large fleet: polls, storms, kills, a backfill, a power cut."""
