/** Where the stream ends, for a process that is about to publish: it continues from there. */
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch } from '../commit/entry.ts';
import type { EvictedCommit } from '../journal/memory.ts';
import type { Beginning } from '../relay/follower.ts';
import type { HeadState } from '../relay/replica.ts';
import { readSteps, type StepReceiver } from '../relay/step-reader.ts';
import type { Relay } from './connection.ts';
import { envelopeOf } from './envelope.ts';
import { Pieces } from './pieces.ts';
import { readRange } from './range.ts';

export interface LastPlace {
  /** The newest message. `term` is empty where there is none. */
  readonly newest: { readonly sequence: number; readonly term: string; readonly number: number };
  /** The published part of the history in force. Undefined: the stream does not tell. */
  readonly continued:
    | {
        readonly head: HeadState;
        readonly definitions: ServedDefinitions;
        /** Commits that a snapshot may not see yet. */
        readonly recent: readonly EvictedCommit[];
      }
    | undefined;
}

/** Throws SnoError if the stream cannot be read, and `relay_version`. */
export async function lastPlace(
  relay: Pick<Relay, 'bounds' | 'lastMessage' | 'message' | 'follow' | 'ensureStream'>,
): Promise<LastPlace> {
  const bounds = await relay.bounds();
  if (bounds === undefined) {
    await relay.ensureStream();
    return { newest: { sequence: 0, term: '', number: 0 }, continued: undefined };
  }
  const message = bounds.count === 0 ? undefined : await relay.lastMessage();
  if (message === undefined) return { newest: { sequence: bounds.last, term: '', number: 0 }, continued: undefined };
  const { term, number, state } = envelopeOf(message.bytes);
  const newest = { sequence: message.sequence, term, number };
  const first = state === 0 ? undefined : await relay.message(state);
  if (first === undefined || envelopeOf(first.bytes).kind !== 'state') return { newest, continued: undefined };
  const collector = new Collector();
  const pieces = new Pieces();
  for await (const each of readRange(relay, state, message.sequence)) {
    const whole = pieces.take(each);
    if (whole !== undefined) readSteps(whole.steps, collector);
  }
  return { newest, continued: collector.result };
}

class Collector implements StepReceiver {
  #head: HeadState | undefined;
  #definitions: ServedDefinitions | undefined;
  #recent: EvictedCommit[] = [];

  get result(): LastPlace['continued'] {
    const [head, definitions] = [this.#head, this.#definitions];
    return head === undefined || definitions === undefined ? undefined : { head, definitions, recent: this.#recent };
  }

  moveTo(head: HeadState): void {
    this.#head = head;
  }

  begin({ definitions, evicted }: Beginning): void {
    this.#definitions = definitions;
    this.#recent = [...evicted];
  }

  append({ xid }: Batch): void {
    if (xid !== 0 && this.#recent.at(-1)?.xid !== xid) this.#recent.push({ xid, at: Date.now() });
  }

  define(definitions: ServedDefinitions): void {
    this.#definitions = definitions;
  }

  marker(): void {}

  setKnown(): void {}
}
