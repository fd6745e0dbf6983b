/**
 * Reads a transaction while it is in progress, so that its commit costs only as much as its events.
 * The result counts only if the definitions are still the same at the commit. Rows that Postgres
 * evaluates, rows of views that join, and rows that access depends on, are read at the commit.
 */
import type { ChannelRegistry } from '../channels/definitions/registry.ts';
import { RemoteAnswers } from '../channels/remote-answers.ts';
import { Router } from '../channels/router.ts';
import { Recording, type RecordingMark, type RecordingTarget } from '../commit/recording.ts';
import { PgoutputDecoder } from '../decode/pgoutput.ts';
import type { Relation } from '../decode/relation.ts';
import { PatternCounts } from '../metrics/patterns.ts';
import type { SpoolLog } from '../spool/log.ts';
import type { CommitSteps, TransactionReader } from '../spool/reader.ts';
import type { StreamedCommit } from '../spool/stream-messages.ts';

const RELATION = 0x52; // R
/** Prefixes of messages that concern more than the channels of their transaction. */
const OF_ALL = ['sno.catalog', 'sno.marker'];

/** Receives counts that are not used: events are counted at the commit. */
const NOT_COUNTED: PatternCounts = new PatternCounts();

export class EarlyReader implements TransactionReader {
  readonly #registry: ChannelRegistry;
  readonly #target: RecordingTarget;
  readonly #recording: Recording;
  readonly #decoder: PgoutputDecoder;
  /** The definitions that its rows are read by. */
  readonly #definitions: unknown;
  readonly #marks: RecordingMark[] = [];

  readonly #isWaiting: () => boolean;

  /** `isWaiting`: whether earlier messages wait for Postgres. */
  constructor(registry: ChannelRegistry, log: SpoolLog, target: RecordingTarget, isWaiting: () => boolean) {
    this.#registry = registry;
    this.#isWaiting = isWaiting;
    this.#target = target;
    this.#definitions = registry.served;
    this.#recording = new Recording(log, target.sink.partBytesMax);
    const router = new EarlyRouter(registry, this.#recording);
    router.begin(0, 0, 0);
    this.#decoder = new PgoutputDecoder(router);
  }

  message(buffer: Buffer, start: number, end: number): void {
    if (this.#isVoid) return;
    if (buffer[start] === RELATION) this.#recording.relation(buffer, start, end);
    this.#decoder.message(buffer, start, end);
  }

  mark(): void {
    this.#marks.push(this.#recording.mark());
  }

  cut(mark: number): void {
    const to = this.#marks[mark] as RecordingMark;
    this.#marks.length = mark;
    this.#recording.cut(to);
  }

  rest(): void {
    if (!this.#isVoid) this.#recording.rest();
  }

  get isUseful(): boolean {
    return !this.#isVoid;
  }

  commit({ begin, commit }: StreamedCommit): CommitSteps | undefined {
    // questions about joined rows wait without holding the stream, and no commit may overtake them
    if (this.#isVoid || this.#isWaiting()) return undefined;
    const recording = this.#recording;
    const decode = (message: Buffer) => this.#decoder.message(message, 0, message.length);
    recording.finish();
    recording.aim(this.#target);
    return {
      log: recording.log,
      begin: () => {
        decode(begin);
        return recording.isFresh;
      },
      chunk: (bytes) => recording.apply(bytes),
      end: () => decode(commit),
    };
  }

  close(): void {
    this.#recording.giveUp();
  }

  /** Whether the result cannot be used. Gives up if the definitions have changed meanwhile. */
  get #isVoid(): boolean {
    const recording = this.#recording;
    if (!recording.isVoid && this.#registry.served !== this.#definitions) recording.giveUp();
    return recording.isVoid;
  }
}

/** A router that gives up at everything that can only be read at the commit. */
class EarlyRouter extends Router {
  readonly #registry: ChannelRegistry;
  readonly #recording: Recording;

  constructor(registry: ChannelRegistry, recording: Recording) {
    const giveUp = () => recording.giveUp();
    super(registry, recording, new RemoteAnswers(), {
      catalog: () => [],
      marker: giveUp,
      dropped: giveUp,
      counted: (op) => recording.counted(op),
      committed: () => undefined,
      countsOf: () => NOT_COUNTED,
      failed: giveUp,
      unfit: giveUp,
      fit: () => undefined,
    });
    this.#registry = registry;
    this.#recording = recording;
  }

  override relation(relation: Relation): void {
    super.relation(relation);
    const isRemote = this.#registry.viewsOf(relation.oid).some(({ remote }) => remote !== undefined);
    const isJoined = this.#registry.joined.some(({ tables }) => tables.some(({ oid }) => oid === relation.oid));
    if (isRemote || isJoined || this.#registry.accessOf(relation.oid).length > 0) this.#recording.giveUp();
  }

  override insert(...change: Parameters<Router['insert']>): void {
    this.#recording.countRow();
    super.insert(...change);
  }

  override update(...change: Parameters<Router['update']>): void {
    this.#recording.countRow();
    super.update(...change);
  }

  override delete(...change: Parameters<Router['delete']>): void {
    this.#recording.countRow();
    super.delete(...change);
  }

  override message(...message: Parameters<Router['message']>): void {
    if (OF_ALL.includes(message[0])) this.#recording.giveUp();
    else super.message(...message);
  }
}
