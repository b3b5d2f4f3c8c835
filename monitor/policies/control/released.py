"""Released Safe contracts: how their code hashes, and where they lie.

Source: the package ``@safe-global/safe-deployments`` 1.37.56, of the makers of Safe: versions 1.0.0 to 1.5.0 in all
their deployments, those for zkSync's own machine included. The hashes of 1.4.1 agree with the runtime code in
``@safe-global/safe-contracts`` 1.4.1. Code that knows its own address (MultiSend, the migrations) hashes differently at
each place.
"""

from __future__ import annotations

__all__ = ["library_of", "singleton_of"]

# Name and version, hash of the runtime code, addresses of deployments.
_SINGLETONS: tuple[tuple[str, str, str], ...] = (
    (
        "Safe 1.0.0",
        "0xe1f1593df76e69abc2d692792c80f329457551d5e83dde597546a1d58764da80",
        "0xb6029ea3b2c51d09a50b53ca8012feeb05bda35a",
    ),
    (
        "Safe 1.1.1",
        "0x56b8be58b5ad629a621593a2e5e5e8e9a28408dc06e95597497b303902772e45",
        "0x34cfac646f301356faa8b21e94227e3583fe3f5f",
    ),
    (
        "Safe 1.2.0",
        "0x2ae2d1231f0d754a7fa4f5e5d0e5554085e1b500d8e09f95aaaaa3f49c0db922",
        "0x6851d6fdfafd08c0295c392436245e5bc78b0185",
    ),
    (
        "Safe 1.3.0",
        "0xbba688fbdb21ad2bb58bc320638b43d94e7d100f6f3ebaab0a4e4de6304b1c2e",
        "0xd9db270c1b5e3bd161e8c8503c55ceabee709552 0x69f4d1788e39c87893c980c06edf4b7f686e2938",
    ),
    (
        "Safe 1.3.0",
        "0x551b7fdfd2dbcec4f785059e1ef6e0b40ca2e44d792158c4e825bc0b092f15e9",
        "0xb00ce5cccdef57e539ddced01df43a13855d9910",
    ),
    (
        "SafeL2 1.3.0",
        "0x21842597390c4c6e3c1239e434a682b054bd9548eee5e9b1d6a4482731023c0f",
        "0x3e5c63644e683549055b9be8653de26e0b4cd36e 0xfb1bffc9d739b8d520daf37df666da4c687191ea",
    ),
    (
        "SafeL2 1.3.0",
        "0xe2ca068330339d608367d83a0b25545efe39e619098597699ab8ff828cb1ddd8",
        "0x1727c2c531cf966f902e5927b98490fdfb3b2b70",
    ),
    (
        "Safe 1.4.1",
        "0x1fe2df852ba3299d6534ef416eefa406e56ced995bca886ab7a553e6d0c5e1c4",
        "0x41675c099f32341bf84bfc5382af534df5c7461a",
    ),
    (
        "Safe 1.4.1",
        "0xfa4d4fc0fa9f1a061571a3f3f66502464edf1a519ab1ab93dc232addf4fbe30f",
        "0xc35f063962328ac65ced5d4c3fc5def8dec68dfa",
    ),
    (
        "SafeL2 1.4.1",
        "0xb1f926978a0f44a2c0ec8fe822418ae969bd8c3f18d61e5103100339894f81ff",
        "0x29fcb43b46531bca003ddc8fcb67ffe91900c762",
    ),
    (
        "SafeL2 1.4.1",
        "0x520462ebe1156cd2d37b1d470c57f23e12fe0c4cda4c62502d96e03fa0cb44da",
        "0x610fca2e0279fa1f8c00c8c2f71df522ad469380",
    ),
    (
        "Safe 1.5.0",
        "0xdda019cbd7c867a533a2a86e5c53434fdc50b13122b5a5ddb4a8df61b31c20f2",
        "0xff51a5898e281db6dfc7855790607438df2ca44b",
    ),
    (
        "SafeL2 1.5.0",
        "0x180193227186ccb85316c94db1f0d156ed932b14712cfaac78901899178572dc",
        "0xedd160febbd92e350d4d398fb636302fccd67c7e",
    ),
)
_LIBRARIES: tuple[tuple[str, str, str], ...] = (
    (
        "MultiSend 1.1.1",
        "0xe4e9b4d4c1e3ff06cd51afe0b51eb1b22c0bab51eab38d428ee74540a5ff603e",
        "0x8d29be29923b68abfdd21e541b9374737b49cdad",
    ),
    (
        "CreateCall 1.3.0",
        "0x8155d988823a4f6f1bcbc76a64af8e510c4ce68819290d43cf24956bd24dee82",
        "0x7cbb62eaa69f79e6873cd1ecb2392971036cfaa4 0xb19d6ffc2182150f8eb585b79d4abcd7c5640a9d",
    ),
    (
        "CreateCall 1.3.0",
        "0x98095337deb9718f4e5ccb1b25a53be5f5e0093502b29df9e857f5e3e12aa194",
        "0xcb8e5e438c5c2b45fbe17b02ca9af91509a8ad56",
    ),
    (
        "MultiSend 1.3.0",
        "0x0208282bd262360d0320862c5ac70f375f5ed3b9d89a83a615b4d398415bdc83",
        "0xa238cbeb142c10ef7ad8442c6d1f9e89e07e7761",
    ),
    (
        "MultiSend 1.3.0",
        "0x81db0e4afdf5178583537b58c5ad403bd47a4ac7f9bde2442ef3e341d433126a",
        "0x998739bfdaadde7c933b942a68053933098f9eda",
    ),
    (
        "MultiSend 1.3.0",
        "0xd9aa004a59b3738a108e747e578ae409b84e9f3ffd689d81b10f4d96000c5f5c",
        "0x0dfcccb95225ffb03c6fbb2559b530c2b7c8a912",
    ),
    (
        "MultiSendCallOnly 1.3.0",
        "0xa9865ac2d9c7a1591619b188c4d88167b50df6cc0c5327fcbd1c8c75f7c066ad",
        "0x40a2accbd92bca938b02010e17a5b8929b49130d 0xa1dabef33b3b82c7814b6d82a79e50f4ac44102b",
    ),
    (
        "MultiSendCallOnly 1.3.0",
        "0x064ddbf252714bcd4cb79f679e8c12df96d998ce07bbb13b3118c1dbf4a31942",
        "0xf220d3b4dfb23c4ade8c88e526c1353abacbc38f",
    ),
    (
        "SignMessageLib 1.3.0",
        "0x3ac65dea3cc9dd0d7b7b800f834e3d73415b4e944bb94555c3e4a08fb137e918",
        "0xa65387f16b013cf2af4605ad8aa5ec25a2cba3a2 0x98ffbbf51bb33a056b08ddf711f289936aaff717",
    ),
    (
        "SignMessageLib 1.3.0",
        "0x9da86f7e32ef976bd442a8eeb353e16d683b53e30e926ae7adce7c609f75b1fc",
        "0x357147caf9c0cca67dfa0cf5369318d8193c8407",
    ),
    (
        "CreateCall 1.4.1",
        "0x2b3060c55fcb8275653e99ad511a71f67ba76934ed66a7d74d6e68b52afff889",
        "0x9b35af71d77eaf8d7e40252370304687390a1a52",
    ),
    (
        "CreateCall 1.4.1",
        "0x3aa5b033c45ab4866216847b12f15bca9a94c66ad5bbfbbbc42cc778079059d4",
        "0xaaa566fe7978bb0fb0b5362b7ba23038f4428d8f",
    ),
    (
        "MultiSend 1.4.1",
        "0x0e4f7fc66550a322d1e7688e181b75e217e662a4f3f4d6a29b22bc61217c4b77",
        "0x38869bf66a61cf6bdb996a6ae40d5853fd43b526",
    ),
    (
        "MultiSend 1.4.1",
        "0xcb372f27aba6983e7b54997ebb4a75c35876b2a279238ab914c5415de1e95137",
        "0x309d0b190fecca8e1d5d8309a16f7e3cb133e885",
    ),
    (
        "MultiSendCallOnly 1.4.1",
        "0xecd5bd14a08c5d2122379900b2f272bdf107a7e92423c10dd5fe3254386c9939",
        "0x9641d764fc13c8b624c04430c7356c1c7c8102e2",
    ),
    (
        "MultiSendCallOnly 1.4.1",
        "0x44c70b30fed5c3a07358a52c2fb028f651031010ef99e4d8c3b45c208e88a264",
        "0x0408ef011960d02349d50286d20531229bcef773",
    ),
    (
        "SafeMigration 1.4.1",
        "0xc00d7921460cd5a05393e7772e634bd7d212f356356aa3a77f0120a9b8e25e99",
        "0x526643f69b81b008f46d95cd5ced5ec0edffdac6",
    ),
    (
        "SafeMigration 1.4.1",
        "0x6815c12fbdeb438fb0fb1e1484ac190ca2fc98065b93f95db846596c3c0eee70",
        "0x817756c6c555a94bcee39eb5a102abc1678b09a7",
    ),
    (
        "SafeToL2Migration 1.4.1",
        "0xa83e7be2fa20c96dc9575e3937239d552f3831ea437d7c96397eec8736f0cba0",
        "0xff83f6335d8930cbad1c0d439a841f01888d9f69",
    ),
    (
        "SafeToL2Migration 1.4.1",
        "0x2a68d940fb2460312e98bc36be0efaeff392237039e7282bc12155f049287c70",
        "0xa26620d1f8f1a2433f0d25027f141aacafb3e590",
    ),
    (
        "SignMessageLib 1.4.1",
        "0x525c754a46b79e05543a59bb61e8de3c9eee0d955a59352409cbe67ea1077528",
        "0xd53cd0ab83d845ac265be939c57f53ad838012c9",
    ),
    (
        "SignMessageLib 1.4.1",
        "0x3e762bdca5f7d61c70e7ad1d1cb7b999481954543e7c29540e757d3e7004aa6b",
        "0xaca1ec0a1a575cdccf1dc3d5d296202eb6061888",
    ),
    (
        "CreateCall 1.5.0",
        "0x6b7d8d29bdf7004c4617d95041923774f3f7e74b056bff55c1861c9ec92ce54f",
        "0x2ef5ecfbea521449e4de05edb1ce63b75eda90b4",
    ),
    (
        "MultiSend 1.5.0",
        "0xca1147a12963172a93910c5cb2bfa5ad0e941c7f03fc7eb017dd06a8ea4e5604",
        "0x218543288004cd07832472d464648173c77d7eb7",
    ),
    (
        "MultiSendCallOnly 1.5.0",
        "0xcdbdcec38d2f1c7d961b0029ff8416b7e86e9974d6f0e9c9580c7d17fcfb6663",
        "0xa83c336b20401af773b6219ba5027174338d1836",
    ),
    (
        "SafeMigration 1.5.0",
        "0x52d7472fa02c3a574544f9b5a4ed4c7777e4e3315217e368926b51e1cc6014ea",
        "0x6439e7abd8bb915a5263094784c5cf561c4172ac",
    ),
    (
        "SignMessageLib 1.5.0",
        "0xd61840855da008da59a00fc03fb71455b4f70bdca1f56f9504f072ed8d90c50e",
        "0x4ffef8222648872b3de295ba1e49110e61f5b5aa",
    ),
)


class _Known:
    """Names by code hash and by address."""

    def __init__(self, table: tuple[tuple[str, str, str], ...]) -> None:
        self._by_hash = {code_hash: name for name, code_hash, _ in table}
        self._by_address = {address: name for name, _, places in table for address in places.split()}

    def name(self, address: str, code_hash: str | None) -> str | None:
        """The name of a contract: by its code, and only where that was not read by its address."""
        return self._by_hash.get(code_hash) if code_hash is not None else self._by_address.get(address)


_SINGLETON, _LIBRARY = _Known(_SINGLETONS), _Known(_LIBRARIES)


def singleton_of(address: str, code_hash: str | None) -> str | None:
    """The released implementation of a Safe that this is, ``Safe 1.4.1`` for example; None: it is none of them.

    Parameters
    ----------
    code_hash : of its code, lower-case hex; None where nobody read it, and then its address decides

    >>> singleton_of("0x41675c099f32341bf84bfc5382af534df5c7461a", None)
    'Safe 1.4.1'
    """
    return _SINGLETON.name(address, code_hash)


def library_of(address: str, code_hash: str | None) -> str | None:
    """The released library that a Safe may call by delegatecall; None: it is none of them. See `singleton_of`.

    >>> library_of("0x40a2accbd92bca938b02010e17a5b8929b49130d", None)
    'MultiSendCallOnly 1.3.0'
    """
    return _LIBRARY.name(address, code_hash)
