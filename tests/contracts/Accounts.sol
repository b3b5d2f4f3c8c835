// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// A treasury that pays from inside a call: the payment leaves no log and no transaction of its own.
contract Treasury {
    address public owner = msg.sender;
    Purse public purse = new Purse();

    receive() external payable {}

    function pay(address payable to, uint256 amount) external {
        require(msg.sender == owner, "owner");
        (bool done, ) = to.call{value: amount}("");
        require(done, "pay");
    }

    /// Two levels deep: treasury, purse, receiver.
    function payThroughPurse(address payable to, uint256 amount) external {
        require(msg.sender == owner, "owner");
        purse.forward{value: amount}(to);
    }

    /// The inner payment is reverted, the transaction is not.
    function tryToPay(address payable to, uint256 amount) external {
        try this.payAndFail(to, amount) {} catch {}
    }

    function payAndFail(address payable to, uint256 amount) external {
        (bool done, ) = to.call{value: amount}("");
        require(!done, "undo");
    }

    /// Everything goes to the heir; since Cancun the code stays.
    function end(address payable heir) external {
        require(msg.sender == owner, "owner");
        selfdestruct(heir);
    }

    function transferOwnership(address next) external {
        require(msg.sender == owner, "owner");
        emit OwnershipTransferred(owner, next);
        owner = next;
    }

    event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);
}

contract Purse {
    function forward(address payable to) external payable {
        (bool done, ) = to.call{value: msg.value}("");
        require(done, "forward");
    }
}

/// What an account may be delegated to (EIP-7702): whoever calls takes the coins.
contract Sweeper {
    receive() external payable {}

    function sweep(address payable to) external {
        (bool done, ) = to.call{value: address(this).balance}("");
        require(done, "sweep");
    }
}

/// Two implementations behind a proxy.
contract LogicOne {
    uint256 public number;

    receive() external payable {}

    function set(uint256 value) external {
        number = value;
    }
}

contract LogicTwo {
    uint256 public number;

    receive() external payable {}

    function take(address payable to) external {
        (bool done, ) = to.call{value: address(this).balance}("");
        require(done, "take");
    }
}
