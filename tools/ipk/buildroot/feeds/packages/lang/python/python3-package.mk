# Stands in for python3-package.mk of OpenWrt's packages feed, which does nothing where the package asks for nothing.

ifneq ($(PYTHON3_PKG_BUILD),0)
  $(error a Python package that is built is beyond this stand-in)
endif
