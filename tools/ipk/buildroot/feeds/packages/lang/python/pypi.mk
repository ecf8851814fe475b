# Stands in for pypi.mk of OpenWrt's packages feed. PYPI_DIR: a folder with the unpacked releases, NAME-VERSION each.

PKG_BUILD_DIR:=$(PYPI_DIR)/$(PYPI_NAME)-$(PKG_VERSION)
