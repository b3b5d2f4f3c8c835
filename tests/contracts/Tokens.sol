// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Emits whatever it is told to: what anybody may do in anybody's name.
contract FakeToken {
    string public symbol;
    uint8 public decimals = 6;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    constructor(string memory name_) {
        symbol = name_;
    }

    function forge(address from, address to, uint256 value) external {
        emit Transfer(from, to, value);
    }

    function forgeApproval(address owner, address spender, uint256 value) external {
        emit Approval(owner, spender, value);
    }

    function balanceOf(address) external pure returns (uint256) {
        return 0;
    }
}

/// A token of the odd kinds: returns nothing, takes a fee beyond what the log says, or changes balances on its own.
contract OddToken {
    string public symbol = "ODD";
    uint8 public decimals = 18;
    mapping(address => uint256) public shares;
    mapping(address => mapping(address => uint256)) public allowance;
    uint256 public scale = 1000;
    uint256 public fee; // in thousandths, taken from the sender on top

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    constructor(uint256 fee_) {
        fee = fee_;
        shares[msg.sender] = 1e24;
        emit Transfer(address(0), msg.sender, 1e24);
    }

    function balanceOf(address who) external view returns (uint256) {
        return shares[who] * scale / 1000;
    }

    function transfer(address to, uint256 value) external {
        move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external {
        allowance[from][msg.sender] -= value;
        move(from, to, value);
    }

    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
    }

    function rebase(uint256 scale_) external {
        scale = scale_;
    }

    function move(address from, address to, uint256 value) private {
        shares[from] -= (value + value * fee / 1000) * 1000 / scale;
        shares[to] += value * 1000 / scale;
        emit Transfer(from, to, value);
    }
}

/// Coins in a wrapper, as the canonical ones do it: no Transfer event at either end.
contract Wrapped {
    string public symbol = "WETH";
    uint8 public decimals = 18;
    mapping(address => uint256) public balanceOf;

    event Deposit(address indexed dst, uint256 wad);
    event Withdrawal(address indexed src, uint256 wad);

    receive() external payable {
        deposit();
    }

    function deposit() public payable {
        balanceOf[msg.sender] += msg.value;
        emit Deposit(msg.sender, msg.value);
    }

    function withdraw(uint256 wad) external {
        balanceOf[msg.sender] -= wad;
        payable(msg.sender).transfer(wad);
        emit Withdrawal(msg.sender, wad);
    }
}
