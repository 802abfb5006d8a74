// Bob's wallet: an ordinary program over @cosmjs/stargate that knows nothing of HPIPS but its address prefix, its money and one message.
// It reads {rpc, rest, words, to} from standard input, goes through what wallets and explorers do, and prints what it saw as one line of JSON.
import { Secp256k1HdWallet } from "@cosmjs/amino";
import { DirectSecp256k1HdWallet, Registry } from "@cosmjs/proto-signing";
import {
  AminoTypes, QueryClient, SigningStargateClient, StargateClient, createProtobufRpcClient, defaultRegistryTypes,
} from "@cosmjs/stargate";
import { Comet38Client, connectComet } from "@cosmjs/tendermint-rpc";
import { BinaryReader, BinaryWriter } from "cosmjs-types/binary";
import { text } from "node:stream/consumers";

const { rpc, rest, words, to } = JSON.parse(await text(process.stdin));
const prefix = "hpips", denom = "uhpips", seen = {};
const coins = (amount) => [{ denom, amount: String(amount) }];
const fee = { amount: coins(1000), gas: "300000" };

// MsgBurn has two strings: holder and amount.
const burnType = "/hpips.supply.v1.MsgBurn";
const MsgBurn = {
  fromPartial: (m) => m,
  encode: (m, w = BinaryWriter.create()) => w.uint32(10).string(m.holder).uint32(18).string(m.amount),
  decode: () => { throw new Error("not needed"); },
};
const registry = new Registry([...defaultRegistryTypes, [burnType, MsgBurn]]);
const amino = (name) => new AminoTypes({
  [burnType]: { aminoType: name, toAmino: ({ holder, amount }) => ({ holder, amount }), fromAmino: (m) => m },
});

// The node calls itself CometBFT 0.39, which the client's detection does not know: it falls back to the words of 0.37. The words of 0.38
// are the right ones, so a wallet names them.
const guessed = await connectComet(rpc);
seen.version = (await guessed.status()).nodeInfo.version;
seen.guessed = guessed.constructor.name;
guessed.disconnect();
const comet = await Comet38Client.connect(rpc);

// Asking.
const reader = StargateClient.create(comet);
const direct = await DirectSecp256k1HdWallet.fromMnemonic(words, { prefix });
const [{ address }] = await direct.getAccounts();
seen.chain = await reader.getChainId();
seen.height = await reader.getHeight();
seen.address = address;
seen.balance = (await reader.getBalance(address, denom)).amount;

// Sending, with the words signed that computers read.
const signing = { registry, aminoTypes: amino("hpips/supply/MsgBurn"), broadcastPollIntervalMs: 200, broadcastTimeoutMs: 60_000 };
const sender = SigningStargateClient.createWithSigner(comet, direct, signing);
const sent = await sender.sendTokens(address, to, coins(2_500_000), fee, "from cosmjs");
seen.send = { code: sent.code, hash: sent.transactionHash, height: sent.height, gas: String(sent.gasUsed) };
seen.received = (await reader.getBalance(to, denom)).amount;

// Looking it up, by hash and by what it did. A node indexes a block a moment after it made it.
const find = async (ask) => {
  for (let i = 0; i < 50; i++) {
    const found = await ask();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error("the transaction is not in the index");
};
const byHash = await find(() => reader.getTx(sent.transactionHash));
seen.found = { height: byHash.height, code: byHash.code, events: byHash.events.filter((e) => e.type === "transfer").length };
const query = [{ key: "transfer.recipient", value: to }];
seen.search = (await find(async () => { const all = await reader.searchTx(query); return all.length ? all : null; })).map((t) => t.hash);

// Our own module, by gRPC over the RPC, and by REST. QueryCommitteeResponse: 1 beacon, 2 epoch, 3 seats, …
const rpcQuery = createProtobufRpcClient(new QueryClient(comet));
const answer = new BinaryReader(await rpcQuery.request("hpips.committee.v1.Query", "Committee", new Uint8Array()));
seen.seats = 0;
while (answer.pos < answer.len) {
  const tag = answer.uint32();
  if (tag >>> 3 === 3) seen.seats++;
  answer.skipType(tag & 7);
}
const get = async (path) => {
  const r = await fetch(rest + path);
  if (!r.ok) throw new Error(`${path}: ${r.status} ${await r.text()}`);
  return r.json();
};
seen.restSeats = (await get("/hpips/committee/v1/committee")).seats.length;
seen.restBalance = (await get(`/cosmos/bank/v1beta1/balances/${address}`)).balances.find((c) => c.denom === denom).amount;
seen.metadata = (await get(`/cosmos/bank/v1beta1/denoms_metadata/${denom}`)).metadata.display;

// Signing one of our messages as a Ledger does: amino, the words that people read. Under a wrong name it must not pass.
const ledger = await Secp256k1HdWallet.fromMnemonic(words, { prefix });
const burn = [{ typeUrl: burnType, value: { holder: address, amount: "1000000" } }];
const right = SigningStargateClient.createWithSigner(comet, ledger, signing);
const burned = await right.signAndBroadcast(address, burn, fee, "");
seen.burn = { code: burned.code, log: burned.rawLog };
const wrong = SigningStargateClient.createWithSigner(comet, ledger, { ...signing, aminoTypes: amino("hpips/supply/MsgRelease") });
seen.wrong = await wrong.signAndBroadcast(address, burn, fee, "").then((r) => r.code, (e) => e.code ?? String(e));
seen.left = (await reader.getBalance(address, denom)).amount;

comet.disconnect();
process.stdout.write(JSON.stringify(seen) + "\n", () => process.exit(0)); // the library's timer of a refused transaction would go on for a minute
