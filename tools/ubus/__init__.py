"""The `ubus` command-line tool in Python: for the demo and the tests, which have no OpenWrt. Not shipped."""
