"""A NIS1 node on 127.0.0.1 that serves constructed blocks, for replay, drills and tests.

It answers what a public node answers, and, where asked to, the local API with its hashes and balances of the past. Its
blocks become visible at a `Pace`; a reader's question for the last block is what moves a pace without time on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from chains.nem.binary import HASHED, inner_hash, transaction_hash
from chains.nem.decode import EPOCH, decode_transaction
from chains.nem.mosaic import mosaic_name
from chains.recorded.nem_accounts import Catalogue, Refusal, account_page, parties_of
from chains.recorded.nem_blocks import Json, Move, Recording, block_hash, construct, made_up_key, make_block
from chains.recorded.pace import Pace
from monitor.addresses.nem import canonical
from monitor.errors import DecodeError
from monitor.model import BlockRef, Transfer

__all__ = ["Move", "RecordedNemServer", "Recording", "construct", "made_up_key", "make_block"]

MOST_AFTER = 10  # blocks in one answer of the local API
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RecordedNemServer:
    """Serve a recording; an async context manager.

    Parameters
    ----------
    recording : see `chains.recorded.nem_blocks.construct`
    pace : when blocks become visible; as fast as the reader asks unless said otherwise
    balances : opening balances in micro-XEM before the first block, by address; 0 where not given. What an account
        spends beyond its balance leaves it at 0, because history seldom tells what everybody owned.
    local_api : answer ``/local/chain/blocks-after``, as a node does for those it trusts
    historical : answer for balances of the past, which is an optional feature of NIS1
    definitions : of mosaics, as NIS1 writes them

    Attributes
    ----------
    calls : number of requests by path
    waiting : unconfirmed transactions; those of a visible block are not told any more
    """

    def __init__(
        self,
        recording: Recording,
        *,
        pace: Pace | None = None,
        balances: Mapping[str, int] | None = None,
        local_api: bool = False,
        historical: bool = False,
        definitions: Sequence[Json] = (),
    ) -> None:
        if not recording.blocks:
            raise ValueError("the recording has no blocks")
        self.calls: Counter[str] = Counter()
        self._network = recording.network
        self._signers = dict(recording.signers)
        self._folded_blocks = 0  # visible blocks whose movements are in the balances
        self._keys = {address: key for key, address in recording.signers.items()}
        self._opening = {(address, self._network.asset): value for address, value in (balances or {}).items()}
        self._unfold()
        self._local_api, self._historical = local_api, historical
        self.waiting: list[Json] = []
        self._catalogue = Catalogue(definitions)
        self._blocks = list(recording.blocks)
        self._base: int = self._blocks[0]["height"]
        # A reader of the first block also reads its parent, which only block 1 does without.
        self._pace = pace or Pace()
        self._pace.begin(self._times(), shown=1 if self._base == 1 else 2)
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The endpoint; RuntimeError before the first start."""
        if not self._port:
            raise RuntimeError("the server has not been started")
        return f"http://127.0.0.1:{self._port}"

    @property
    def blocks(self) -> tuple[Json, ...]:
        """The blocks that readers see now."""
        return tuple(self._blocks[: self._pace.visible])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen: on a free port the first time, on the same one after a `stop`."""
        app = web.Application()
        app.add_routes([web.get(path, handler) for path, handler in self._gets().items()])
        app.add_routes([web.post(path, handler) for path, handler in self._posts().items()])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port)
        await site.start()
        self._runner, self._port = runner, runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and stop listening; the node is down. Calling it twice is fine."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def reorg(self, depth: int, blocks: Sequence[Json], *, shown: int | None = None) -> None:
        """Replace the newest ``depth`` visible blocks, and all that were to come, by ``blocks``.

        Parameters
        ----------
        depth : 0 or more, less than the number of visible blocks
        blocks : linked to the block below; see the ``parent`` of `construct`
        shown : how many of them are visible at once; None is all

        Raises
        ------
        ValueError : the depth is out of range, or the blocks do not link
        """
        kept = self._pace.visible - depth
        if depth < 0 or kept < 1:
            raise ValueError(f"depth was {depth}, expected 0 to {self._pace.visible - 1}")
        chain = self._blocks[:kept]
        for block in blocks:
            if block["prevBlockHash"]["data"] != block_hash(chain[-1]) or block["height"] != chain[-1]["height"] + 1:
                raise ValueError(f"block {block['height']} does not link to block {chain[-1]['height']}")
            chain.append(block)
        self._blocks = chain
        self._pace.begin(self._times(), shown=kept + (len(blocks) if shown is None else shown))
        self._unfold()

    def _times(self) -> list[int]:
        return [block["timeStamp"] + EPOCH for block in self._blocks]

    def _gets(self) -> dict[str, Handler]:
        return {
            "/heartbeat": self._answer(lambda _: {"code": 1, "type": 2, "message": "ok"}),
            "/status": self._answer(lambda _: {"code": 6, "type": 4, "message": "status"}),
            "/node/info": self._answer(lambda _: self._info()),
            "/chain/height": self._answer(lambda _: {"height": self.blocks[-1]["height"]}),
            "/chain/last-block": self._answer(lambda _: self._blocks[self._pace.ask() - 1]),
            "/account/get": self._answer(lambda query: self._account(query["address"])),
            "/account/transfers/all": self._answer(self._transfers_all),
            "/account/unconfirmedTransactions": self._answer(self._unconfirmed),
            "/account/historical/get": self._answer(self._past_balances),
            "/mosaic/definition": self._answer(self._catalogue.definition),
            "/mosaic/supply": self._answer(self._catalogue.supply),
            "/namespace/mosaic/definition/page": self._answer(self._catalogue.page),
            "/account/mosaic/owned": self._answer(lambda query: self._mosaics(query["address"])),
        }

    def _posts(self) -> dict[str, Handler]:
        return {
            "/block/at/public": self._answer(lambda body: self._at(body["height"])),
            "/local/chain/blocks-after": self._answer(lambda body: self._after(body["height"])),
        }

    def _answer(self, make: Callable[[Mapping[str, Any]], Json]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            self.calls[request.path] += 1
            try:
                return web.json_response(make(await request.json() if request.method == "POST" else request.query))
            except Refusal as refused:
                refusal = refused
            except (KeyError, TypeError, ValueError) as error:
                refusal = Refusal(400, "Bad Request", f"{type(error).__name__} in the request")
            return web.json_response(refusal.body, status=refusal.status)

        return handler

    def _info(self) -> Json:
        byte = self._network.params["network_byte"]
        return {
            "metaData": {
                "features": 1,
                "application": None,
                "networkId": byte - 256 if byte > 127 else byte,
                "version": "0.6.100",
                "platform": "heistwatch",
            },
            "endpoint": {"protocol": "http", "port": self._port, "host": "127.0.0.1"},
            "identity": {"name": "recorded", "public-key": made_up_key("node")},
        }

    def _at(self, height: int) -> Json:
        place = height - self._base
        if not 0 <= place < self._pace.visible:
            raise Refusal(404, "Not Found", "block not found in the db")
        return self._blocks[place]

    def _after(self, height: int) -> Json:
        if not self._local_api:
            raise Refusal(401, "Unauthorized", "remote attempted to call local")
        first = max(0, height + 1 - self._base)
        return {"data": [_explored(block) for block in self.blocks[first : first + MOST_AFTER]]}

    def _account(self, text: str) -> Json:
        address = canonical(text, self._network)
        balance = self._balances()[address, self._network.asset]
        return {
            "meta": {"cosignatories": [], "cosignatoryOf": [], "status": "LOCKED", "remoteStatus": "INACTIVE"},
            "account": {
                "address": address,
                "harvestedBlocks": 0,
                "balance": balance,
                "importance": 0.0,
                "vestedBalance": balance,
                "publicKey": self._keys.get(address),
                "label": None,
                "multisigInfo": {},
            },
        }

    def _mosaics(self, text: str) -> Json:
        address = canonical(text, self._network)
        owned = []
        for (owner, asset), value in sorted(self._balances().items()):
            if owner == address and value:
                namespace, name = mosaic_name(asset) or ("nem", "xem")
                owned.append({"quantity": value, "mosaicId": {"namespaceId": namespace, "name": name}})
        return {"data": owned}

    def _transfers_all(self, query: Mapping[str, Any]) -> Json:
        address = canonical(query["address"], self._network)
        size = min(100, max(5, int(query.get("pageSize", 25))))
        return account_page(self.blocks, self._parties, address, query.get("id"), size)

    def _unconfirmed(self, query: Mapping[str, Any]) -> Json:
        address = canonical(query["address"], self._network)
        mined = {tx.get("signature") for block in self.blocks for tx in block["transactions"]}
        found = [tx for tx in self.waiting if tx["signature"] not in mined and address in self._parties(tx)]
        return {"data": [{"meta": {"data": inner_hash(tx)}, "transaction": tx} for tx in found]}

    def _parties(self, tx: Json) -> set[str]:
        return parties_of(tx, self._network, self._signers)

    def _past_balances(self, query: Mapping[str, Any]) -> Json:
        if not self._historical:
            raise Refusal(404, "Not Found", "the node does not offer historical account data")
        address = canonical(query["address"], self._network)
        heights = range(int(query["startHeight"]), int(query["endHeight"]) + 1, int(query["increment"]))
        rows = []
        for height in heights:
            balances = self._folded_to(defaultdict(int, self._opening), 0, height - self._base + 1)
            rows.append({"height": height, "address": address, "balance": balances[address, self._network.asset]})
        return {"data": rows}

    def _balances(self) -> dict[tuple[str, str], int]:
        """Balances after the last visible block, by address and asset."""
        shown = self._pace.visible
        balances = self._folded_to(self._folded, self._folded_blocks, shown)
        self._folded_blocks = shown
        return balances

    def _folded_to(self, balances: dict[tuple[str, str], int], start: int, end: int) -> dict[tuple[str, str], int]:
        """``balances`` after the blocks at these places."""
        for block in self._blocks[start:end]:
            for transfer in self._transfers(block):
                payer = (transfer.from_addresses[0], transfer.asset)
                balances[payer] = max(0, balances[payer] - transfer.value)
                if transfer.to_address:
                    balances[transfer.to_address, transfer.asset] += transfer.value
        return balances

    def _transfers(self, block: Json) -> Iterator[Transfer]:
        ref = BlockRef(self._network.chain, block["height"], "")
        for place, tx in enumerate(block["transactions"]):
            try:
                yield from decode_transaction(
                    tx, ref, place, 0, self._network, signers=self._signers, levies=self._catalogue.levies
                ).transfers
            except DecodeError:
                continue  # served all the same: what its reader makes of it is the reader's

    def _unfold(self) -> None:
        self._folded: dict[tuple[str, str], int] = defaultdict(int, self._opening)
        self._folded_blocks = 0


def _explored(block: Json) -> Json:
    """A block as the local API gives it."""
    txes = []
    for tx in block["transactions"]:
        digest = transaction_hash(tx) if tx.get("type") in HASHED else block_hash(tx)
        inner = inner_hash(tx)
        txes.append({"tx": tx, "hash": digest, **({"innerHash": inner} if inner else {})})
    fees = sum(tx["fee"] for tx in block["transactions"])
    return {"difficulty": 10**14, "totalFee": fees, "txes": txes, "block": block, "hash": block_hash(block)}
