#!/bin/sh
# Installs what the tests need to be real, where it is missing: redis-server, postfix, chromium, Go (Debian packages); anvil,
# released contracts and a Solidity compiler, an emulator of Telegram (npm packages); Synapse (a Python package, on its
# own).
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
contracts="@safe-global/safe-contracts@1.4.1 oz4@npm:@openzeppelin/contracts@4.9.6 @uniswap/v4-periphery@1.0.3 solc@0.8.28"
if [ ! -d .tools/node_modules/solc ] || [ ! -d .tools/node_modules/@uniswap/v4-periphery ]; then
    if command -v npm >/dev/null 2>&1; then
        echo "installing contracts"
        # shellcheck disable=SC2086
        mkdir -p .tools && npm install --silent --no-audit --no-fund --prefix .tools $contracts >/dev/null 2>&1 ||
            echo "contracts could not be installed"
    else
        echo "contracts are missing and there is no npm to install them: their tests are skipped"
    fi
fi
if [ ! -d .tools/node_modules/telegram-test-api ]; then
    if command -v npm >/dev/null 2>&1; then
        echo "installing the Telegram emulator"
        mkdir -p .tools && npm install --silent --no-audit --no-fund --prefix .tools telegram-test-api@4.2.1 >/dev/null 2>&1 ||
            echo "the Telegram emulator could not be installed"
    else
        echo "the Telegram emulator is missing and there is no npm to install it: its tests are skipped"
    fi
fi
if ! command -v postfix >/dev/null 2>&1 || ! command -v saslpasswd2 >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing postfix"
        apt-get update -q >/dev/null 2>&1
        # The tests have a configuration of their own: the system's mail is left as it is.
        echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections >/dev/null 2>&1
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends \
            postfix sasl2-bin libsasl2-modules >/dev/null 2>&1 || echo "postfix could not be installed"
    else
        echo "postfix is missing and cannot be installed without root: its tests are skipped"
    fi
fi
if [ ! -x .tools/synapse/bin/synapse_homeserver ]; then
    echo "installing the Matrix homeserver Synapse"
    python=.venv/bin/python
    [ -x "$python" ] || python=python3
    mkdir -p .tools && "$python" -m venv .tools/synapse >/dev/null 2>&1 &&
        .tools/synapse/bin/python -m pip install -q --disable-pip-version-check matrix-synapse==1.163.2 >/dev/null 2>&1 ||
        echo "Synapse could not be installed"
fi
if ! command -v chromium >/dev/null 2>&1 && ! command -v chromium-browser >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing chromium"
        apt-get update -q >/dev/null 2>&1
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends chromium \
            >/dev/null 2>&1 || echo "chromium could not be installed"
    else
        echo "chromium is missing and cannot be installed without root: the tests of pages in a browser are skipped"
    fi
fi
if ! command -v go >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing Go"
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends golang-go \
            >/dev/null 2>&1 || echo "Go could not be installed"
    else
        echo "Go is missing and cannot be installed without root: the test of the Go example is skipped"
    fi
fi
if ! command -v prometheus-alertmanager >/dev/null 2>&1 && ! command -v alertmanager >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing prometheus-alertmanager"
        apt-get update -q >/dev/null 2>&1
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends \
            prometheus-alertmanager >/dev/null 2>&1 || echo "prometheus-alertmanager could not be installed"
    else
        echo "Alertmanager is missing and cannot be installed without root: its tests are skipped"
    fi
fi
exit 0
