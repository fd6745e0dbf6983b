/** What the stream keeps of a history, for clients that resume from before a gateway's journal. */
import type { Batch } from '../commit/entry.ts';
import { SnoError } from '../errors.ts';
import { type OlderHistory, PositionTooOld } from '../fanout/history/older-history.ts';
import { comparePositions, type Position } from '../position.ts';
import { readSteps, type StepReceiver } from '../relay/step-reader.ts';
import type { Relay } from './connection.ts';
import { comparePlaces, envelopeOf, type Place, placeOfBatch } from './envelope.ts';
import { Pieces } from './pieces.ts';
import { readRange } from './range.ts';
import { findPlace } from './search.ts';

type HistoryRelay = Pick<Relay, 'bounds' | 'message' | 'follow'>;

export class StreamHistory implements OlderHistory {
  readonly #connect: () => Promise<HistoryRelay>;
  #connected: Promise<HistoryRelay> | undefined;

  /** `connect` is called when a client resumes for the first time. It throws SnoError. */
  constructor(connect: () => Promise<HistoryRelay>) {
    this.#connect = connect;
  }

  async *read(epoch: string, after: Position): AsyncGenerator<readonly Batch[]> {
    this.#connected ??= this.#connect();
    const relay = await this.#connected.catch((error) => {
      this.#connected = undefined;
      throw error;
    });
    const bounds = await relay.bounds();
    const first = bounds === undefined ? undefined : await findPlace(relay, epoch, { ...after, parts: 0 });
    if (bounds === undefined || first === undefined) {
      await refuseBehind(relay, epoch, after);
      throw new PositionTooOld(await oldest(relay, epoch));
    }
    const pieces = new Pieces();
    const collector = new Collector();
    let next = first;
    for await (const message of readRange(relay, first, bounds.last)) {
      // The stream dropped messages while it was read.
      if (message.sequence !== next) throw new PositionTooOld(await oldest(relay, epoch));
      next++;
      const whole = pieces.take(message);
      if (whole === undefined || whole.envelope.epoch !== epoch || whole.envelope.kind === 'state') continue;
      readSteps(whole.steps, collector);
      const batches = collector.take();
      if (batches.length > 0) yield batches;
    }
  }
}

/**
 * Throws `try_again` if the stream ends before the position: it has lost its newest messages, which
 * are published again.
 */
async function refuseBehind(relay: HistoryRelay, epoch: string, after: Position): Promise<void> {
  const bounds = await relay.bounds();
  const message = bounds === undefined ? undefined : await relay.message(bounds.last);
  const newest = message === undefined ? undefined : envelopeOf(message.bytes);
  if (newest === undefined || (newest.epoch === epoch && comparePositions(newest.to, after) < 0))
    throw new SnoError('try_again', 'the stream is being filled again');
}

/** Everything after it can be read, as far as the oldest message tells. */
async function oldest(relay: HistoryRelay, epoch: string): Promise<Position | undefined> {
  const bounds = await relay.bounds();
  const message = bounds === undefined || bounds.count === 0 ? undefined : await relay.message(bounds.first);
  if (message === undefined) return undefined;
  const envelope = envelopeOf(message.bytes);
  return envelope.epoch === epoch ? envelope.from : undefined;
}

/** Keeps batches, each once: a term may publish again what the one before it had published. */
class Collector implements StepReceiver {
  #batches: Batch[] = [];
  #place: Place = { lsn: 0, index: 0, parts: 0 };

  take(): readonly Batch[] {
    const batches = this.#batches;
    this.#batches = [];
    return batches;
  }

  append(batch: Batch): void {
    const place = placeOfBatch(batch);
    if (comparePlaces(place, this.#place) <= 0) return;
    this.#place = place;
    this.#batches.push(batch);
  }

  moveTo(): void {}

  begin(): void {}

  marker(): void {}

  define(): void {}

  setKnown(): void {}
}
