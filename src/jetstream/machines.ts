/**
 * Passes messages between the processes that serve clients on several machines. They use a plain
 * subject of NATS: nothing is stored, and a machine that is cut off misses messages.
 */
import { randomUUID } from 'node:crypto';
import { writeMessage } from '../peers/message.ts';
import type { PeerSwitch } from '../peers/peer-switch.ts';
import { NETWORK } from '../peers/peers.ts';
import type { Relay } from './connection.ts';

/** Bytes of a machine's id, which is in front of each message. */
const ID_BYTES = 36;

export function joinMachines(relay: Relay, peers: PeerSwitch): void {
  const self = Buffer.from(randomUUID());
  const port = peers.attach((message) => relay.broadcast(Buffer.concat([self, message])));
  relay.onChange(() => {
    const head = { isDown: !relay.isConnected };
    port.send(writeMessage({ from: self.toString(), kind: NETWORK, head }));
  });
  relay.onBroadcast((bytes) => {
    // NATS also returns what this machine has sent.
    if (!bytes.subarray(0, ID_BYTES).equals(self)) port.send(bytes.subarray(ID_BYTES));
  });
}
