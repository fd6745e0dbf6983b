/**
 * Publishes the steps of ingest in the stream. Their order is safe without a lock: each message is
 * stored only if it follows the one before it, so two processes that publish stop each other.
 *
 * Up to WINDOW messages are in flight at the same time. If one fails, it is unknown which of them
 * were stored. The newest message of the stream shows it, and the others are published again, with
 * the same bytes. This term is over if the stream holds messages of another process, or lacks some
 * that were confirmed before. The next term begins from what the stream has.
 */
import { pauseBefore } from '../backoff.ts';
import type { ServedDefinitions } from '../channels/served/served.ts';
import type { Batch } from '../commit/entry.ts';
import { Deque } from '../deque.ts';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Lsn } from '../lsn.ts';
import type { Beginning, StreamFollower } from '../relay/follower.ts';
import type { Relay } from './connection.ts';
import { type Envelope, envelopeOf } from './envelope.ts';
import { isWrongLastSequence, relayFault } from './fault.ts';
import { MESSAGE_BYTES_MAX, type TermMessage, TermWriter, type TermWriterOptions } from './term-writer.ts';

export interface PublisherOptions extends TermWriterOptions {
  readonly relay: Pick<Relay, 'publish' | 'lastMessage' | 'bounds' | 'payloadBytesMax' | 'isConnected' | 'onChange'>;
  readonly stream: string;
  /** The newest message of the stream when this term began. */
  readonly last: { readonly sequence: number; readonly term: string; readonly number: number };
  readonly logger: Logger;
  /** Whether the stream from Postgres is open. */
  readonly isStreaming: () => boolean;
  /** Pauses the stream from Postgres until `release`. */
  readonly hold: () => void;
  readonly release: () => void;
  /** Called for each message that was confirmed. */
  readonly onPublished: (bytes: number) => void;
  /** Called when the term is over. */
  readonly onOver: (why: SnoError) => void;
}

/** Maximum messages in flight. */
const WINDOW = 32;
/** With more messages than this in flight, steps wait, and are joined to larger messages. */
const JOIN_FROM = 2;
/** How often the stream is checked for holes, in ms. */
const HOLES_MS = 5_000;
/** Maximum bytes of a message's NATS headers. */
const HEADERS_BYTES = 512;
/** Maximum bytes that wait to be confirmed before the stream is held. */
const WAITING_BYTES_MAX = 16 * 1024 ** 2;
/** Maximum time between two messages, in ms: then one is published without news. */
const SILENCE_MS = 2_000;
const CHECK_MS = 500;

export class StreamPublisher implements StreamFollower {
  readonly #options: PublisherOptions;
  readonly #writer: TermWriter;
  readonly #waiting = new Deque<TermMessage>();
  readonly #timer: NodeJS.Timeout;
  readonly #endWatch: () => void;
  /** Number of messages of `#waiting` that are in flight: the oldest ones. */
  #sent = 0;
  #waitingBytes = 0;
  /** The newest confirmed sequence. */
  #confirmed: number;
  #confirmedHead: Lsn = 0;
  #publishedAt: number;
  #confirmedAt: number;
  /** The number of the current attempt to publish: answers to earlier attempts are ignored. */
  #attempt = 0;
  #isComparing = false;
  #isHeld = false;
  #isOver = false;
  #fault: SnoError | undefined;
  #lookedAt: number;
  /** Number of messages that are missing within the stream. */
  #holes = 0;
  /** Number of failures since the stream last took a message. */
  #refused = 0;

  constructor(options: PublisherOptions) {
    const { last, relay, now } = options;
    this.#options = options;
    this.#writer = new TermWriter(
      options,
      last.sequence,
      () => relay.payloadBytesMax - HEADERS_BYTES,
      (message) => this.#push(message),
    );
    this.#confirmed = last.sequence;
    this.#publishedAt = now();
    this.#confirmedAt = now();
    this.#lookedAt = now();
    this.#timer = setInterval(() => this.#check(), CHECK_MS);
    this.#endWatch = relay.onChange(() => void this.#compare());
  }

  get term(): string {
    return this.#writer.term;
  }

  /** Everything before it may be acknowledged to Postgres, after a margin. */
  get confirmedHead(): Lsn {
    return this.#confirmedHead;
  }

  /** The sequence of the newest message that was confirmed. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /** Bytes that wait to be confirmed. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** How long messages have waited without any of them being confirmed, in ms. */
  get unconfirmedMs(): number {
    return this.#waiting.length === 0 ? 0 : this.#options.now() - this.#confirmedAt;
  }

  /** Why messages are not confirmed now. Undefined: they are. */
  get fault(): SnoError | undefined {
    return this.#fault;
  }

  /** This process does not know which channels clients of other machines follow. */
  knows(): undefined {
    return undefined;
  }

  /** Ends the term: nothing more is published. */
  stop(): void {
    this.#isOver = true;
    this.#attempt++;
    clearInterval(this.#timer);
    this.#endWatch();
    if (this.#isHeld) this.#options.release();
    this.#isHeld = false;
  }

  // Steps of the stream:

  begin({ reason }: Beginning): void {
    this.#writer.begin(reason);
    this.#pace();
    this.#pump();
  }

  append(batch: Batch): void {
    this.#writer.append(batch);
  }

  marker(id: string): void {
    this.#writer.marker(id);
  }

  define(definitions: ServedDefinitions): void {
    this.#writer.define(definitions);
  }

  setKnown(isKnown: boolean): void {
    this.#writer.setKnown(isKnown);
  }

  flush(): void {
    if (this.#isOver) return;
    const isBusy = this.#sent > JOIN_FROM || this.#isComparing;
    const { waitingBytes } = this.#writer;
    if (waitingBytes === 0 || (isBusy && waitingBytes < MESSAGE_BYTES_MAX)) return;
    this.#publishSteps();
  }

  #publishSteps(): void {
    this.#writer.write();
    this.#pace();
    this.#pump();
  }

  #push(message: TermMessage): void {
    if (this.#waiting.length === 0) this.#confirmedAt = this.#options.now();
    this.#waiting.push(message);
    this.#waitingBytes += message.bytes.length;
  }

  #pump(): void {
    const { relay } = this.#options;
    if (this.#isOver || this.#isComparing || !relay.isConnected) return;
    while (this.#sent < Math.min(WINDOW, this.#waiting.length)) {
      const message = this.#waiting.at(this.#sent++) as TermMessage;
      const attempt = this.#attempt;
      this.#publishedAt = this.#options.now();
      relay.publish(message.bytes, message.sequence - 1).then(
        () => this.#isCurrent(attempt) && this.#confirm(message.sequence),
        (error) => this.#isCurrent(attempt) && this.#failed(error),
      );
    }
  }

  #isCurrent(attempt: number): boolean {
    return attempt === this.#attempt && !this.#isOver;
  }

  /** Records that everything up to this sequence is in the stream. */
  #confirm(sequence: number): void {
    this.#confirmedAt = this.#options.now();
    const before = this.#confirmed;
    for (
      let first = this.#waiting.first();
      first !== undefined && first.sequence <= sequence;
      first = this.#waiting.first()
    ) {
      this.#waiting.shift();
      this.#sent = Math.max(0, this.#sent - 1);
      this.#waitingBytes -= first.bytes.length;
      this.#confirmed = first.sequence;
      if (first.head !== undefined) this.#confirmedHead = first.head;
      this.#options.onPublished(first.bytes.length);
    }
    // The fault remains if the stream answers but stored nothing new.
    if (this.#confirmed > before || this.#waiting.length === 0) {
      this.#fault = undefined;
      this.#refused = 0;
    }
    this.#pace();
    if (this.#writer.waitingBytes > 0 && this.#sent <= JOIN_FROM) this.#publishSteps();
    else this.#pump();
  }

  #failed(error: unknown): void {
    const fault = relayFault(error, this.#options.stream);
    if (!isWrongLastSequence(error) && this.#fault?.message !== fault.message) {
      const { code, hint, message } = fault;
      this.#options.logger.warn({ code, hint }, `the stream does not take steps; Snö tries again: ${message}`);
    }
    this.#fault = fault;
    this.#refused++;
    void this.#compare();
  }

  /** Compares the waiting messages with the stream, and publishes those that it lacks. */
  async #compare(): Promise<void> {
    this.#attempt++;
    this.#sent = 0;
    if (this.#isComparing) return;
    this.#isComparing = true;
    // A full stream refuses at once: without this pause it would be asked in a tight loop.
    if (this.#refused > 1) await pauseBefore(Math.min(this.#refused - 1, 4));
    for (let tries = 0; !this.#isOver; tries++) {
      const attempt = this.#attempt;
      if (this.#options.relay.isConnected && (await this.#hasCompared(attempt))) break;
      await pauseBefore(Math.min(tries, 4));
    }
    this.#isComparing = false;
    this.#pump();
  }

  /** Returns false if it must be tried again. */
  async #hasCompared(attempt: number): Promise<boolean> {
    const { relay, last, stream } = this.#options;
    try {
      const bounds = await relay.bounds();
      if (bounds === undefined) {
        this.#over('relay_stream_lost', `the stream ${stream} was deleted`);
        return true;
      }
      const newest = bounds.count === 0 ? undefined : await relay.lastMessage();
      if (!this.#isCurrent(attempt)) return false;
      const sequence = Math.max(newest?.sequence ?? 0, bounds.last);
      if (sequence < this.#confirmed) {
        this.#over(
          'relay_stream_lost',
          `the stream ${stream} ends at ${sequence}, but had ${this.#confirmed} messages`,
        );
        return true;
      }
      const isOurs =
        newest === undefined ? sequence === this.#confirmed : this.#isOurs(envelopeOf(newest.bytes), sequence, last);
      if (!isOurs) {
        this.#over('relay_superseded', `another process publishes in the stream ${stream}`);
        return true;
      }
      this.#refuseTooLarge();
      this.#confirm(sequence);
      return true;
    } catch (error) {
      if (!(error instanceof SnoError)) throw error;
      if (error.code === 'relay_version') {
        this.#over('relay_superseded', `a process of another version publishes in the stream ${stream}`);
        return true;
      }
      this.#fault = error;
      return false;
    }
  }

  #isOurs({ term, number }: Envelope, sequence: number, last: PublisherOptions['last']): boolean {
    if (sequence === last.sequence) return term === last.term && number === last.number;
    return term === this.#writer.term && number === sequence - last.sequence;
  }

  /** Ends the term if a waiting message is too large: the server's limit may have been lowered. */
  #refuseTooLarge(): void {
    const bytesMax = this.#options.relay.payloadBytesMax - HEADERS_BYTES;
    for (const { bytes } of this.#waiting)
      if (bytes.length > bytesMax) {
        this.#over(
          'relay_stream_lost',
          `the servers take messages of ${bytesMax} bytes, but ${bytes.length} bytes wait`,
        );
        return;
      }
  }

  #over(code: 'relay_superseded' | 'relay_stream_lost', message: string): void {
    if (this.#isOver) return;
    this.stop();
    this.#options.onOver(new SnoError(code, message));
  }

  #check(): void {
    const { now, head, isStreaming } = this.#options;
    if (now() - this.#lookedAt >= HOLES_MS) void this.#lookForHoles();
    if (this.#waiting.length > 0 || head.epoch === '' || !isStreaming()) return;
    if (now() - this.#publishedAt < SILENCE_MS && head.headText === this.#writer.headText) return;
    // Followers learn that the head moved, and that the WAL is still read.
    this.#publishSteps();
  }

  /** Publishes a state soon if the stream has a new hole: followers join again at that state. */
  async #lookForHoles(): Promise<void> {
    const { now, relay } = this.#options;
    this.#lookedAt = now();
    const bounds = relay.isConnected ? await relay.bounds().catch(() => undefined) : undefined;
    if (bounds === undefined || bounds.count === 0) return;
    const holes = bounds.last - bounds.first + 1 - bounds.count;
    if (holes > this.#holes) this.#writer.requestState();
    this.#holes = holes;
  }

  #pace(): void {
    const isBehind = this.#waitingBytes > WAITING_BYTES_MAX;
    if (isBehind === this.#isHeld || this.#isOver) return;
    this.#isHeld = isBehind;
    if (isBehind) this.#options.hold();
    else this.#options.release();
  }
}
