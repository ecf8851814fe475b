# Stands in for OpenWrt's include/package.mk. What OpenWrt would put into a control file is written down, one file a
# field; the install section is run. A section is expanded as often as OpenWrt expands it, so that a Makefile that needs
# `$$$$` there needs it here. As in OpenWrt every package depends on the C library first.

PKG_BUILD_DIR?=$(BUILD_DIR)/$(PKG_NAME)
VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE)

FIELDS:=SECTION CATEGORY TITLE URL DEPENDS PROVIDES CONFLICTS DEFAULT_VARIANT USERID PKGARCH VERSION
SECTIONS:=description conffiles preinst postinst prerm postrm

define BuildTargets
.PHONY: all prepare
prepare:
	$(Build/Prepare)
	$(Build/Configure)
	$(Build/Compile)
endef

define WriteSection
$(if $(value Package/$(1)/$(2)),$(file >$(OUT)/$(1)/$(2),$(Package/$(1)/$(2))))
endef

define BuildPackage
  $(foreach field,$(filter-out VERSION,$(FIELDS)),$(eval $(field):=))
  $(eval VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE))
  $(eval $(Package/$(1)))
  $(shell mkdir -p $(OUT)/$(1)/root)
  $(eval DEPENDS:=+libc $(DEPENDS))
  $(foreach field,$(FIELDS),$(file >$(OUT)/$(1)/$(field),$(strip $($(field)))))
  $(file >$(OUT)/$(1)/SOURCE,$(PKG_NAME))
  $(file >$(OUT)/$(1)/LICENSE,$(PKG_LICENSE))
  $(file >$(OUT)/$(1)/MAINTAINER,$(PKG_MAINTAINER))
  $(foreach section,$(SECTIONS),$(call WriteSection,$(1),$(section)))
  $(if $(PACKAGES),,$(eval $(BuildTargets)))
  $(eval PACKAGES+=$(1))
  $(eval $(call BuildPackage/install,$(1),$(OUT)/$(1)/root))
endef

define BuildPackage/install
.PHONY: $(1)
all: $(1)
$(1): prepare
	$(call Package/$(1)/install,$(2))
endef
