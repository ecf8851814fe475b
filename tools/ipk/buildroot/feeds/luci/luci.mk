# Stands in for luci.mk of the LuCI feed: one package of htdocs/ and root/, and one a language of po/.
# LMO: the command that compiles a catalog, with IN and OUT to follow.

PKG_NAME:=$(notdir $(CURDIR))
PKG_MAINTAINER:=$(LUCI_MAINTAINER)
LUCI_BASENAME:=$(patsubst luci-app-%,%,$(PKG_NAME))
LUCI_LANGUAGES:=$(filter-out templates,$(notdir $(wildcard $(CURDIR)/po/*)))

# As the menu of LuCI's language settings names them.
LUCI_LANGUAGE.it:=Italiano (Italian)

include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION:=luci
  CATEGORY:=LuCI
  TITLE:=$(LUCI_TITLE)
  DEPENDS:=$(LUCI_DEPENDS)
  PKGARCH:=$(LUCI_PKGARCH)
endef

define Package/$(PKG_NAME)/description
  $(LUCI_DESCRIPTION)
endef

define Package/$(PKG_NAME)/install
	$(INSTALL_DIR) $(1)/www
	$(CP) $(CURDIR)/htdocs/* $(1)/www/
	$(CP) $(CURDIR)/root/* $(1)/
	find $(1) -type d -exec chmod 0755 {} +
	find $(1) -type f -exec chmod 0644 {} +
endef

# The new menu entries and rights are seen at once.
define Package/$(PKG_NAME)/postinst
[ -n "$${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache
	/etc/init.d/rpcd reload
}
exit 0
endef

define Translation
  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)
    SECTION:=luci
    CATEGORY:=LuCI
    TITLE:=$(PKG_NAME) - $(1) translation
    DEPENDS:=$(PKG_NAME)
    VERSION:=$(PKG_PO_VERSION)
    PKGARCH:=all
  endef

  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/description
    Translation for $(PKG_NAME) - $(LUCI_LANGUAGE.$(1))
  endef

  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/install
	$(INSTALL_DIR) $$(1)/etc/uci-defaults $$(1)/usr/lib/lua/luci/i18n
	echo "uci set luci.languages.$(1)='$(LUCI_LANGUAGE.$(1))'; uci commit luci" \
		> $$(1)/etc/uci-defaults/luci-i18n-$(LUCI_BASENAME)-$(1)
	$(foreach po,$(wildcard $(CURDIR)/po/$(1)/*.po),$(LMO) $(po) \
		$$(1)/usr/lib/lua/luci/i18n/$(basename $(notdir $(po))).$(1).lmo;)
  endef
endef

$(eval $(call BuildPackage,$(PKG_NAME)))
$(foreach language,$(LUCI_LANGUAGES),$(if $(LUCI_LANGUAGE.$(language)),,$(error no name for the language '$(language)')))
$(foreach language,$(LUCI_LANGUAGES),$(eval $(call Translation,$(language))))
$(foreach language,$(LUCI_LANGUAGES),$(eval $(call BuildPackage,luci-i18n-$(LUCI_BASENAME)-$(language))))
