"""Neither hash seeds, nor the order of dictionaries, nor the processor's features change a bit of the results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core import _multiarray_umath as umath

CONFTEST = Path(__file__).with_name("conftest.py")
ROOT = CONFTEST.parents[2]
SCRIPT = """
import asyncio, hashlib, importlib.util, sys
from random import Random

def module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]

lab = module("lab", sys.argv[1])
batches = module("batches", sys.argv[1].replace("conftest.py", "test_batches.py"))
if "backwards" in sys.argv:
    lab.WALLETS = tuple(reversed(lab.WALLETS))
from monitor.ids import canonical_json
from monitor.model import Status
from monitor.published import incident_data

ONE = (
    "return_days", "share", "gone", "drain", "balance", "typical", "age", "probe", "others", "swept", "odd", "idle",
    "topup", "kind_of", "foreign", "days", "warm",
)
MANY = ("score", "tau", "x", "u", "z", "width")

async def main():
    digest, scores, told = hashlib.blake2b(digest_size=16), [], dict.fromkeys(("odd", "swept"), 0)
    for seed in range(6):
        story = lab.script(seed, 30, (lab.ETH, lab.BSC, lab.BTC))
        if "backwards" in sys.argv:
            story.told = {place: dict(reversed(told.items())) for place, told in reversed(story.told.items())}
        seen = await lab.live(story, rng=Random(1))
        engine, correlator = lab.backtest(story)
        for item in (*seen.engine.dump(), *engine.dump()):
            digest.update(repr(item).encode())
        for folded in seen.folded:
            for hit in (*folded.hits, *folded.signals):
                scores.append([float(hit.record[n]).hex() for n in ONE])
                scores.append([float(x).hex() for n in MANY for x in hit.record[n]])
        for incident in (*seen.correlator.all(), *correlator.all()):
            if incident.status is not Status.RETRACTED:
                digest.update(canonical_json(incident_data(incident, lab.AssetNames())))
    for seed in range(8):  # rows of all kinds, enough of them for marks to be told apart
        dump, hits, state = batches.folded(batches.rows_of(seed, 600, (100, 4)[seed % 2]), [200])
        digest.update(repr(dump).encode() + hits)
        told["odd"] += int((state._fusions["printed"][:2] > 50).all())
        told["swept"] += int(state._fusions["swept_n"].max() > 1)
        scores.append(len(hits))
    digest.update(repr(scores).encode())
    print(digest.hexdigest(), len(scores), min(told.values()))

asyncio.run(main())
"""
FAULTY = """
import math, numpy, hashlib, sys
print(hashlib.md5("".join({str(n) for n in range(50)}).encode()).hexdigest())
x = numpy.linspace(0.001, 50.0, 200_000)
parts = [numpy.exp(x).tobytes(), numpy.log(x).tobytes(), numpy.power(x, 1.3).tobytes(), numpy.sin(x).tobytes()]
print(hashlib.md5(b"".join(parts)).hexdigest())
own = [f(v) for v in x[::7].tolist() for f in (math.exp, math.log, math.log10, lambda v: math.pow(10.0, v))]
print(hashlib.md5(repr(own).encode()).hexdigest())
"""


def result(script: str, *arguments: str, **environment: str) -> list[str]:
    """What a fresh interpreter prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NPY_", "NUMBA_CPU_"))}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=clean | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=280,  # kernels may have to be compiled
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def features() -> str:
    """Features that NumPy would use on this machine and can be told not to; skips where there are none."""
    found = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]
    if not found:
        pytest.skip("this NumPy uses no optional processor features here")
    return " ".join(found)


@pytest.fixture(scope="module")
def usual() -> list[str]:
    """The results as they are."""
    found = result(SCRIPT, str(CONFTEST))
    assert int(found[1]) > 100 and int(found[2]) > 0  # scores were compared, marks and sweeps among them
    return found


def test_hash_seeds_do_not_matter(usual: list[str]) -> None:
    """State, scores and incidents are the same bytes under another hash seed."""
    assert result(SCRIPT, str(CONFTEST), PYTHONHASHSEED="4242") == usual


def test_the_order_of_dictionaries_does_not_matter(usual: list[str]) -> None:
    """Wallets listed the other way round, balances told in another order: the same bytes."""
    assert result(SCRIPT, str(CONFTEST), "backwards") == usual


def test_processor_features_do_not_matter(usual: list[str]) -> None:
    """Without the vector units that NumPy would use, not a bit of state, scores and incidents differs."""
    assert result(SCRIPT, str(CONFTEST), NPY_DISABLE_CPU_FEATURES=features()) == usual


def test_the_compiler_s_processor_does_not_matter(usual: list[str]) -> None:
    """Kernels compiled for a plain processor, on NumPy without its vector units: the same bits."""
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NPY_DISABLE_CPU_FEATURES": features()}
    assert result(SCRIPT, str(CONFTEST), **plain) == usual


def test_the_c_library_s_variants_do_not_matter(usual: list[str]) -> None:
    """Without fused multiplication, for which the C library has its own exp and log: the same bits."""
    hidden = "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2,-AVX2_Usable,-FMA_Usable,-AVX512F"
    assert result(SCRIPT, str(CONFTEST), GLIBC_TUNABLES=hidden) == usual


def test_a_hash_order_would_be_seen() -> None:
    """Planted fault: what comes out of a set differs between hash seeds."""
    one, two = (result(FAULTY, PYTHONHASHSEED=seed)[0] for seed in ("0", "4242"))
    assert one != two


def test_vector_maths_would_be_seen() -> None:
    """Planted fault: NumPy's own exp, log and power differ between processor features."""
    one, two = result(FAULTY)[1], result(FAULTY, NPY_DISABLE_CPU_FEATURES=features())[1]
    if one == two:
        pytest.skip("NumPy's functions agree on this machine with and without its features")
    assert one != two


def test_library_maths_would_be_seen() -> None:
    """Planted fault: the C library's exp, log and pow differ between processors with and without fused operations."""
    hidden = "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2,-AVX2_Usable,-FMA_Usable,-AVX512F"
    one, two = result(FAULTY)[2], result(FAULTY, GLIBC_TUNABLES=hidden)[2]
    if one == two:
        pytest.skip("this C library has no variants, or cannot be told to leave one out")
    assert one != two
