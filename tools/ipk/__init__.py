"""OpenWrt packages without OpenWrt's build system: `python -m tools.ipk`.

The package Makefiles of this repository are run as they are, against a stand-in for the build system
(`buildroot/`); so the SDK and this tool install the same files, with the same fields and scripts.
"""
