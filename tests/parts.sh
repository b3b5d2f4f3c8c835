#!/bin/sh
# Installs the real servers of the tests where they are missing: redis-server (Debian package) and anvil (npm package).
# Each step may fail: the tests that need the part then say so.
anvil=.tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil
if ! command -v redis-server >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing redis-server"
        apt-get update -q >/dev/null 2>&1
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends redis-server >/dev/null 2>&1 ||
            echo "redis-server could not be installed"
    else
        echo "redis-server is missing and cannot be installed without root: its tests are skipped"
    fi
fi
if [ ! -x "$anvil" ] && ! command -v anvil >/dev/null 2>&1; then
    if command -v npm >/dev/null 2>&1; then
        echo "installing anvil"
        mkdir -p .tools && npm install --silent --no-audit --no-fund --prefix .tools @foundry-rs/anvil@1.7.1 >/dev/null 2>&1 ||
            echo "anvil could not be installed"
    else
        echo "anvil is missing and there is no npm to install it: its tests are skipped"
    fi
fi
exit 0
