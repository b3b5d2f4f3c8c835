// node compile.js OUT.json FILE.sol ... : ABI and bytecode of the tests' own contracts.
// Run where node_modules holds solc; contracts import nothing.
const solc = require(process.cwd() + "/node_modules/solc");
const fs = require("fs");
const path = require("path");
const [out, ...files] = process.argv.slice(2);
const answer = JSON.parse(solc.compile(JSON.stringify({
  language: "Solidity",
  sources: Object.fromEntries(files.map((file) => [path.basename(file), { content: fs.readFileSync(file, "utf8") }])),
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "cancun",
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
})));
const errors = (answer.errors || []).filter((error) => error.severity === "error");
if (errors.length) {
  console.error(errors.map((error) => error.formattedMessage).join("\n"));
  process.exit(1);
}
const found = {};
for (const source of Object.values(answer.contracts))
  for (const [name, made] of Object.entries(source))
    found[name] = { abi: made.abi, bytecode: "0x" + made.evm.bytecode.object, deployed: "0x" + made.evm.deployedBytecode.object };
fs.writeFileSync(out, JSON.stringify(found));
