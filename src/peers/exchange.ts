/** Delivers what a client sends to the other subscribers of its channel, in all processes. */
import type { Feed } from '../fanout/fanout.ts';
import { UnstoredFrame } from '../fanout/unstored.ts';
import { type Payload, PayloadArena, textOf } from '../memory/payload.ts';
import type { PeerMessage } from './message.ts';
import type { Peers } from './peers.ts';

const KIND = 'send';
const CLOSING_BRACE = '}';

/** A message that a client sent, after all checks. */
export interface SentMessage {
  readonly channel: string;
  readonly event: string;
  /** JSON text. */
  readonly data: Buffer;
  /** The user that the client's token names. */
  readonly from: string | undefined;
}

/** The subscribers of this process. */
export interface LocalSubscribers {
  post(frame: UnstoredFrame, except?: Feed): void;
}

export class Exchange {
  readonly #local: LocalSubscribers;
  readonly #peers: Peers;
  readonly #payloads = new PayloadArena();

  constructor(local: LocalSubscribers, peers: Peers) {
    this.#local = local;
    this.#peers = peers;
    peers.on(KIND, (message) => this.#receive(message));
  }

  /** `sender`: the feed that does not receive it. */
  send({ channel, event, data, from }: SentMessage, sender: Feed): void {
    const members = [channel, from ?? null, event].map((value) => JSON.stringify(value));
    const head = `{"type":"message","channel":${members[0]},"from":${members[1]},"event":${members[2]},"data":`;
    const text = Buffer.concat([Buffer.from(head), data, Buffer.from(CLOSING_BRACE)]);
    this.#local.post(this.#frame(channel, text), sender);
    this.#peers.send(KIND, { channel }, text);
  }

  #receive({ head: { channel }, body }: PeerMessage): void {
    if (typeof channel === 'string') this.#local.post(this.#frame(channel, body));
  }

  #frame(channel: string, text: Buffer): UnstoredFrame {
    const payload: Payload = this.#payloads.allocate(text.length);
    text.copy(textOf(payload));
    return new UnstoredFrame('message', channel, payload);
  }
}
