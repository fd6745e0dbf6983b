/** The end of the stream, from which a process that is about to publish continues. */
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch } from '../commit/entry.ts';
import { type EvictedCommit, EvictedCommits } from '../journal/evicted-commits.ts';
import type { Beginning } from '../relay/follower.ts';
import { type Ownership, UNKNOWN_OWNER } from '../relay/installation.ts';
import type { HeadState } from '../relay/replica.ts';
import { readSteps, type StepReceiver } from '../relay/step-reader.ts';
import type { Relay } from './connection.ts';
import { envelopeOf } from './envelope.ts';
import { Pieces } from './pieces.ts';
import { readRange } from './range.ts';
import { isJoinable } from './search.ts';

export interface LastPlace {
  /** The newest message. `term` is '' if the stream is empty. */
  readonly newest: { readonly sequence: number; readonly term: string; readonly number: number };
  /** What the next messages of this installation say of their owner. */
  readonly ownership: Ownership;
  /** The published part of the history in force. Undefined: the stream has no usable state. */
  readonly continued:
    | {
        readonly head: HeadState;
        readonly definitions: ServedDefinitions;
        /** The sequence of the newest state, at which a process can join. */
        readonly state: number;
        /** How its publisher cut large commits into parts; see `cutOf`. */
        readonly cut: number;
        /** Commits that a snapshot may not see yet. */
        readonly recent: readonly EvictedCommit[];
      }
    | undefined;
}

/** Number of tenures, after which they are counted from 0 again. */
const TENURES = 1 << 8;

/**
 * Reads the end of the stream. What another installation than `owner` has published is not
 * continued. Throws SnoError if that fails, for example `relay_version`.
 */
export async function lastPlace(
  relay: Pick<Relay, 'bounds' | 'lastMessage' | 'message' | 'follow' | 'ensureStream'>,
  owner: string,
): Promise<LastPlace> {
  const bounds = await relay.bounds();
  if (bounds === undefined) {
    await relay.ensureStream();
    return { newest: { sequence: 0, term: '', number: 0 }, ownership: { owner, tenure: 0 }, continued: undefined };
  }
  const message = bounds.count === 0 ? undefined : await relay.lastMessage();
  if (message === undefined)
    return {
      newest: { sequence: bounds.last, term: '', number: 0 },
      ownership: { owner, tenure: 0 },
      continued: undefined,
    };
  const { term, number, state, owner: before, tenure, cut } = envelopeOf(message.bytes);
  // Messages after it were deleted, or another program wrote them.
  const newest = { sequence: Math.max(message.sequence, bounds.last), term, number };
  if (before !== owner && before !== UNKNOWN_OWNER)
    return { newest, ownership: { owner, tenure: (tenure + 1) % TENURES }, continued: undefined };
  const ownership = { owner, tenure };
  if (!(await isJoinable(relay, state))) return { newest, ownership, continued: undefined };
  const collector = new Collector();
  const pieces = new Pieces();
  for await (const each of readRange(relay, state, message.sequence)) {
    const whole = pieces.take(each);
    if (whole !== undefined) readSteps(whole.steps, collector);
  }
  const continued = collector.result;
  return { newest, ownership, continued: continued === undefined ? undefined : { ...continued, state, cut } };
}

class Collector implements StepReceiver {
  #head: HeadState | undefined;
  #definitions: ServedDefinitions | undefined;
  readonly #recent = new EvictedCommits(Date.now);

  get result(): Omit<NonNullable<LastPlace['continued']>, 'state' | 'cut'> | undefined {
    const [head, definitions] = [this.#head, this.#definitions];
    return head === undefined || definitions === undefined
      ? undefined
      : { head, definitions, recent: this.#recent.list };
  }

  moveTo(head: HeadState): void {
    this.#head = head;
  }

  begin({ definitions, evicted }: Beginning): void {
    this.#definitions = definitions;
    this.#recent.replace(evicted);
  }

  append({ xid }: Batch): void {
    this.#recent.add(xid);
  }

  define(definitions: ServedDefinitions): void {
    this.#definitions = definitions;
  }

  marker(): void {}

  setKnown(): void {}
}
