// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// The least that a watcher can tell from an ERC-20: balances, transfers and their event.
/// `emitRaw` emits forged and malformed events, `payOut` moves ether internally.
contract Token {
    event Transfer(address indexed from, address indexed to, uint256 value);

    mapping(address => uint256) public balanceOf;

    constructor(uint256 supply) payable {
        balanceOf[msg.sender] = supply;
        emit Transfer(address(0), msg.sender, supply);
    }

    function transfer(address to, uint256 value) external returns (bool) {
        require(balanceOf[msg.sender] >= value, "balance");
        unchecked {
            balanceOf[msg.sender] -= value;
            balanceOf[to] += value;
        }
        emit Transfer(msg.sender, to, value);
        return true;
    }

    /// An event with any topics and data, as a hostile contract would emit it.
    function emitRaw(bytes32[] calldata topics, bytes calldata data) external {
        bytes memory copy = data;
        uint256 count = topics.length;
        bytes32 a = count > 0 ? topics[0] : bytes32(0);
        bytes32 b = count > 1 ? topics[1] : bytes32(0);
        bytes32 c = count > 2 ? topics[2] : bytes32(0);
        bytes32 d = count > 3 ? topics[3] : bytes32(0);
        assembly {
            let at := add(copy, 32)
            let size := mload(copy)
            switch count
            case 0 { log0(at, size) }
            case 1 { log1(at, size, a) }
            case 2 { log2(at, size, a, b) }
            case 3 { log3(at, size, a, b, c) }
            default { log4(at, size, a, b, c, d) }
        }
    }

    function payOut(address payable to, uint256 value) external {
        (bool sent,) = to.call{value: value}("");
        require(sent, "not sent");
    }

    receive() external payable {}
}
