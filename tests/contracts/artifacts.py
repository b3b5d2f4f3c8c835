"""Real contracts for real nodes: released ones from their npm packages, and the tests' own, compiled when needed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from eth_utils import to_checksum_address
from web3 import Web3

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".tools/node_modules"
SAFE = MODULES / "@safe-global/safe-contracts/build/artifacts/contracts"
PERMIT2 = "0x000000000022d473030f116ddee9f6b43ac78ba3"  # the canonical deployment, on every chain

_SAFE = {
    "Safe": "Safe.sol", "SafeL2": "SafeL2.sol", "SafeProxyFactory": "proxies/SafeProxyFactory.sol",
    "MultiSend": "libraries/MultiSend.sol", "MultiSendCallOnly": "libraries/MultiSendCallOnly.sol",
    "SignMessageLib": "libraries/SignMessageLib.sol", "CreateCall": "libraries/CreateCall.sol",
    "CompatibilityFallbackHandler": "handler/CompatibilityFallbackHandler.sol",
}  # fmt: skip
_CODEC = Web3().eth


def absent(what: str) -> Any:
    """Skip, or fail where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not available")
    pytest.skip(f"{what} is not available")


@dataclass(frozen=True)
class Artifact:
    """A contract that can be deployed. ``bytecode`` is what creates it, ``deployed`` what then lies at its address."""

    abi: list[Any]
    bytecode: str
    deployed: str = "0x"

    def creation(self, *arguments: Any) -> str:
        """The data of the transaction that makes it."""
        made = _CODEC.contract(abi=self.abi, bytecode=self.bytecode).constructor(*_summed(arguments))
        return str(made.data_in_transaction)

    def call(self, function: str, *arguments: Any) -> str:
        """The data of a call."""
        return str(_CODEC.contract(abi=self.abi).encode_abi(function, args=list(_summed(arguments))))


def _summed(value: Any) -> Any:
    """Addresses with their checksums, as the codec wants them, however deep they lie."""
    if isinstance(value, list | tuple):
        return type(value)(_summed(item) for item in value)
    return to_checksum_address(value) if isinstance(value, str) and re.fullmatch("0x[0-9a-fA-F]{40}", value) else value


@cache
def artifact(name: str) -> Artifact:
    """A contract by name: the tests' own, Safe 1.4.1, or OpenZeppelin 4.9.6."""
    own = _own()
    if name in own:
        found = own[name]
        return Artifact(found["abi"], found["bytecode"], found["deployed"])
    if name in _SAFE:
        return _read(SAFE / _SAFE[name] / f"{name}.json")
    return _read(MODULES / f"oz4/build/contracts/{name}.json")


def permit2_code() -> str:
    """The code of Permit2 as it lies on Ethereum; it answers rightly only where the chain id is 1."""
    path = MODULES / "@uniswap/v4-periphery/lib/permit2/test/utils/DeployPermit2.sol"
    found = re.search(r'hex"([0-9a-f]{8000,})"', path.read_text()) if path.is_file() else None
    return "0x" + found.group(1) if found else absent("Permit2 (npm package @uniswap/v4-periphery)")


def _read(path: Path) -> Artifact:
    if not path.is_file():
        absent(f"the contract {path.stem} (an npm package, see tests/parts.sh)")
    found = json.loads(path.read_text())
    return Artifact(found["abi"], found["bytecode"], found.get("deployedBytecode", "0x"))


@cache
def _own() -> Mapping[str, Any]:
    """The tests' own contracts, compiled once for each state of their sources."""
    sources = sorted(Path(__file__).parent.glob("*.sol"))
    script = Path(__file__).parent / "compile.js"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in [*sources, script])).hexdigest()[:16]
    made = ROOT / f".tools/contracts-{digest}.json"
    if not made.is_file():
        node = shutil.which("node")
        if node is None or not (MODULES / "solc").is_dir():
            absent("a Solidity compiler (npm package solc)")
        part = made.with_suffix(f".{os.getpid()}")
        command = [str(node), str(script), str(part), *map(str, sources)]
        subprocess.run(command, cwd=ROOT / ".tools", check=True)
        part.replace(made)
    return dict(json.loads(made.read_text()))
