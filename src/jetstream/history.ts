/** Reads older history from the stream, for clients that resume from before a gateway's journal. */
import type { Batch } from '../commit/entry.ts';
import { SnoError } from '../errors.ts';
import { type OlderHistory, PositionTooOld } from '../fanout/history/older-history.ts';
import { comparePositions, type Position } from '../position.ts';
import type { Installation } from '../relay/installation.ts';
import { readSteps, type StepReceiver } from '../relay/step-reader.ts';
import type { Relay } from './connection.ts';
import { comparePlaces, envelopeOf, type Place, placeOfBatch } from './envelope.ts';
import { Pieces } from './pieces.ts';
import { readRange } from './range.ts';
import { findPlace } from './search.ts';

type HistoryRelay = Pick<Relay, 'bounds' | 'message' | 'follow'>;

export class StreamHistory implements OlderHistory {
  readonly #connect: () => Promise<HistoryRelay>;
  readonly #installation: Pick<Installation, 'id' | 'isForeign'>;
  #connected: Promise<HistoryRelay> | undefined;

  /** `connect` is called when the first client resumes. It throws SnoError. */
  constructor(connect: () => Promise<HistoryRelay>, installation: Pick<Installation, 'id' | 'isForeign'>) {
    this.#connect = connect;
    this.#installation = installation;
  }

  async *read(epoch: string, after: Position): AsyncGenerator<readonly Batch[]> {
    this.#connected ??= this.#connect();
    const relay = await this.#connected.catch((error) => {
      this.#connected = undefined;
      throw error;
    });
    await this.#installation.id();
    const bounds = await relay.bounds();
    const first = bounds === undefined ? undefined : await findPlace(relay, epoch, { ...after, parts: 0 });
    if (bounds === undefined || first === undefined) throw await unreadable(relay, epoch, after);
    const pieces = new Pieces();
    const collector = new Collector();
    let next = first;
    for await (const message of readRange(relay, first, bounds.last)) {
      // The stream has dropped messages during the reading.
      if (message.sequence !== next) throw await unreadable(relay, epoch, after);
      next++;
      const whole = pieces.take(message);
      if (whole !== undefined && this.#installation.isForeign(whole.envelope))
        throw new SnoError('try_again', 'another installation publishes in the stream');
      if (whole === undefined || whole.envelope.epoch !== epoch || whole.envelope.kind === 'state') continue;
      readSteps(whole.steps, collector);
      const batches = collector.take();
      if (batches.length > 0) yield batches;
    }
  }
}

/**
 * Returns why the history after the position cannot be read. `try_again` if the stream ends before
 * the position: it has lost its newest messages, which are published again.
 */
async function unreadable(relay: HistoryRelay, epoch: string, after: Position): Promise<Error> {
  const bounds = await relay.bounds();
  const envelopeAt = async (sequence: number) => {
    const message = await relay.message(sequence);
    return message === undefined ? undefined : envelopeOf(message.bytes);
  };
  const newest = bounds === undefined ? undefined : await envelopeAt(bounds.last);
  if (
    bounds === undefined ||
    newest === undefined ||
    (newest.epoch === epoch && comparePositions(newest.to, after) < 0)
  )
    return new SnoError('try_again', 'the stream is being filled again');
  const oldest = await envelopeAt(bounds.first);
  return new PositionTooOld(oldest?.epoch === epoch ? oldest.from : undefined);
}

/** Keeps each batch once: a term may repeat what the term before it has published. */
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
