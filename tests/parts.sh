#!/bin/sh
# Installs what the tests need to be real, where it is missing: redis-server (Debian package); anvil, released contracts
# and a Solidity compiler (npm packages); an emulator of Telegram (npm package).
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
exit 0
