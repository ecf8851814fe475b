# Stands in for OpenWrt's rules.mk: the variables that this repository's package Makefiles use, with OpenWrt's meaning.
# OUT: the folder that receives, for each package, NAME/ (what describes it) and NAME/root (its files).

ifndef OUT
  $(error OUT names no folder)
endif

SHELL:=/bin/sh
INCLUDE_DIR:=$(TOPDIR)/include
BUILD_DIR:=$(OUT)/.build

CP:=cp -fpR
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600

all:
