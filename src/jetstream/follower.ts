/**
 * Follows the stream: applies its steps in order, each exactly once.
 *
 * Each message names the places of the history between which its steps lie. This process compares
 * them with its own place:
 *
 * - Steps that begin there are applied.
 * - Steps that begin earlier were published again: only what follows the place is applied.
 * - Steps that begin later leave a hole. The stream is searched for the missing steps. If it no
 *   longer has them, the process joins anew, and all subscribers are reset.
 *
 * A process joins at the newest state in the stream, and reads what follows it.
 */
import { pauseBefore } from '../backoff.ts';
import { ERRORS, SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { differsInGenerationOnly } from '../position.ts';
import type { ResetReason } from '../protocol.ts';
import { foreignStream, type Installation, isSameTenure, type Ownership } from '../relay/installation.ts';
import type { StepReceiver } from '../relay/step-reader.ts';
import { type Application, StepTurns } from '../relay/step-turns.ts';
import { Arrivals } from './arrivals.ts';
import type { Relay } from './connection.ts';
import { comparePlaces, envelopeOf, type Place } from './envelope.ts';
import { Pieces, type WholeSteps } from './pieces.ts';
import { findPlace, isJoinable } from './search.ts';
import { StepsAfter } from './steps-after.ts';
import type { ReceivedMessage } from './stream-message.ts';

/** Receives the steps. */
export interface FollowedSteps extends StepReceiver {
  /** How many bytes of events that arrive together should be flushed at once, at most. */
  readonly burstBytes: number;
  /** All steps that arrived together have been applied. */
  flush(): void;
}

export interface StreamFollowingOptions {
  readonly relay: Pick<
    Relay,
    'follow' | 'bounds' | 'message' | 'lastMessage' | 'onChange' | 'isConnected' | 'ensureStream'
  >;
  /** The stream's name. */
  readonly stream: string;
  /** Messages of other installations are not applied. */
  readonly installation: Pick<Installation, 'id' | 'isForeign' | 'isSurelyForeign'>;
  readonly steps: FollowedSteps;
  readonly now: () => number;
  readonly logger: Logger;
  /** Called when the stream has a hole: steps that this process needs are missing. */
  readonly onHole: () => void;
  /** Called if the process cannot continue: it cannot read this version, or has a bug. */
  readonly onFailed: (error: unknown) => void;
}

/** Steps that have arrived. `pending`: the server announced that so many messages follow. */
interface ArrivedSteps extends WholeSteps {
  readonly pending: number;
}

interface Applied {
  /** Why subscribers are reset, instead of the reason that the steps name. */
  readonly reason?: ResetReason;
  /** Whether this process joins here. */
  readonly isJoining?: boolean;
  /** Whether the place of this process moves to their end. */
  readonly moves?: boolean;
}

/** Identifies a message of the stream, and the term that published it. */
interface Named {
  readonly sequence: number;
  readonly term: string;
  readonly number: number;
}

/** The place of this process: the last message that it applied. */
interface At extends Named, Ownership {
  readonly epoch: string;
  readonly place: Place;
  /** When the stream was created. */
  readonly createdAt: string;
}

const CHECK_MS = 1_000;
/** Silence after which the stream is checked, in ms. Ingest publishes more often than that. */
const SILENT_MS = 5_000;
/** Bytes of steps that wait for their turn beyond which nothing more is read from the stream. */
const WAITING_BYTES_MAX = 16 * 1024 ** 2;

export class StreamFollowing {
  readonly #options: StreamFollowingOptions;
  readonly #pieces = new Pieces();
  readonly #arrivals: Arrivals;
  readonly #turns: StepTurns<ArrivedSteps>;
  #at: At | undefined;
  #end: (() => void) | undefined;
  /** The number of the current consumer: messages of earlier consumers are ignored. */
  #reading = 0;
  #isSeeking = false;
  #mustSeek = false;
  #isStopped = false;
  /** Whether nothing is read from the stream until the steps that wait have been applied. */
  #isPaused = false;
  #timer: NodeJS.Timeout | undefined;
  #heardAt: number;
  #askedAt = 0;
  #onJoined: () => void = () => undefined;
  /** Whether a search has found the next message, so that its number is not checked. */
  #isPlaced = false;
  /** The message before which steps are missing, and whether a search did not find them. */
  #hole: Named | undefined;
  #isGone = false;
  #isStateAwaited = false;
  /** The sequence of the last entry or mark that was applied. */
  #sequence = 0;
  /** The epoch of the history that this process left because of a hole. */
  #left: string | undefined;
  #createdAt = '';
  #fault: string | undefined;

  constructor(options: StreamFollowingOptions) {
    this.#options = options;
    this.#arrivals = new Arrivals(
      () => options.steps.flush(),
      () => options.steps.burstBytes,
    );
    this.#turns = new StepTurns<ArrivedSteps>({
      begin: (steps) => this.#begin(steps),
      ended: ({ pending }, hasMore) => this.#arrivals.endMessage(hasMore ? 1 : pending),
      isTurnOver: () => this.#arrivals.isTurnOver,
      beginTurn: () => this.#beginTurn(),
      caughtUp: () => {
        if (this.#isPaused) this.#seek();
      },
      failed: (error) => this.#fail(error),
    });
    this.#heardAt = options.now();
  }

  /** Starts to follow. Resolves once joined, with the definitions in force and the head. */
  start(): Promise<void> {
    const joined = new Promise<void>((resolve) => {
      this.#onJoined = resolve;
    });
    this.#timer = setInterval(() => this.#check(), CHECK_MS);
    this.#options.relay.onChange(() => {
      if (this.#options.relay.isConnected) this.#seek();
    });
    this.#seek();
    return joined;
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#end?.();
    this.#turns.drop();
    this.#arrivals.pass();
  }

  /** Time since the last message, in ms. */
  get silenceMs(): number {
    return this.#options.now() - this.#heardAt;
  }

  /** Sequence of the newest message that was applied. */
  get sequence(): number | undefined {
    return this.#at?.sequence;
  }

  /** Why the stream is not followed. Undefined: it is. */
  get unready(): string | undefined {
    if (this.#at !== undefined && !this.#isSeeking) return undefined;
    return this.#fault ?? 'no process has published the state of the stream yet';
  }

  /** Finds the sequence to read from, and reads. Called when the reading broke off. */
  #seek(): void {
    this.#endReading();
    this.#isPaused = false;
    this.#turns.drop();
    this.#arrivals.pass();
    this.#mustSeek = true;
    if (this.#isSeeking || this.#isStopped) return;
    void this.#seekPatiently();
  }

  #endReading(): void {
    this.#reading++;
    this.#end?.();
    this.#end = undefined;
  }

  async #seekPatiently(): Promise<void> {
    this.#isSeeking = true;
    for (let attempt = 0; this.#mustSeek && !this.#isStopped; attempt++) {
      try {
        if (this.#options.relay.isConnected && (await this.#hasFound())) continue;
      } catch (error) {
        if (!(error instanceof SnoError)) return this.#options.onFailed(error);
        if (error.code === 'relay_version') return this.#options.onFailed(error);
        if (this.#fault !== error.message) {
          const { code, hint, message } = error;
          this.#options.logger.warn({ code, hint }, `the stream cannot be followed; Snö tries again: ${message}`);
        }
        this.#fault = error.message;
      }
      await pauseBefore(Math.min(attempt, 4));
    }
    this.#isSeeking = false;
    this.#fault = undefined;
  }

  /** Starts to read. Returns false if there is nothing to follow yet. */
  async #hasFound(): Promise<boolean> {
    const { relay } = this.#options;
    const bounds = await relay.bounds();
    if (bounds === undefined) {
      await relay.ensureStream();
      return false;
    }
    this.#createdAt = bounds.createdAt;
    const from = await this.#whereToRead(bounds.createdAt);
    if (from === undefined) return false;
    const reading = ++this.#reading;
    const isCurrent = () => reading === this.#reading && !this.#isStopped;
    const end = await relay.follow(
      from,
      (message) => {
        if (isCurrent()) this.#receive(message);
      },
      () => {
        if (isCurrent()) this.#seek();
      },
    );
    if (!isCurrent()) {
      end();
      return false;
    }
    this.#end = end;
    this.#mustSeek = false;
    return true;
  }

  async #whereToRead(createdAt: string): Promise<number | undefined> {
    const { relay, logger, onHole, installation, stream } = this.#options;
    const at = this.#at;
    await installation.id();
    const newest = await relay.lastMessage();
    if (newest === undefined) {
      this.#heardAt = this.#options.now();
      return undefined;
    }
    const envelope = envelopeOf(newest.bytes);
    if (await installation.isSurelyForeign(envelope)) throw foreignStream(stream);
    const isInForce = at !== undefined && at.createdAt === createdAt && isSameTenure(at, envelope);
    if (isInForce && !this.#isGone && (await this.#isInStream(at))) return at.sequence + 1;
    const { state, epoch, to } = envelope;
    // The stream has lost its newest messages, which are published again. This is checked before
    // the search: messages published during the search must not count as not found.
    if (at !== undefined && at.epoch === epoch && comparePlaces(to, at.place) < 0) {
      // This process is ahead of the stream, and so it is not cut off from it.
      this.#heardAt = this.#options.now();
      return undefined;
    }
    if (at !== undefined && !this.#isGone) {
      const sequence = await findPlace(relay, at.epoch, at.place);
      if (sequence !== undefined) {
        this.#isPlaced = true;
        return sequence;
      }
    }
    if (!(await isJoinable(relay, state)) || (await this.#leadsIntoHole(state))) return undefined;
    if (at !== undefined) {
      if (!this.#isStateAwaited) onHole();
      logger.error(
        { code: 'relay_hole', sequence: at.sequence, hint: ERRORS.relay_hole.hint },
        'the stream no longer has what this process missed: all subscribers are reset',
      );
    }
    this.#left ??= at?.epoch;
    this.#at = undefined;
    this.#isGone = false;
    this.#isStateAwaited = false;
    return state;
  }

  /**
   * Whether the hole comes after this state. A process that joins there would meet the hole again.
   * The next state comes after the hole.
   */
  async #leadsIntoHole(state: number): Promise<boolean> {
    const hole = this.#hole;
    if (hole === undefined || state >= hole.sequence || !(await this.#isInStream(hole))) return false;
    const fault = `the stream has a hole before its message ${hole.sequence}: its next state is awaited`;
    if (fault !== this.#fault) {
      const { hint } = ERRORS.relay_hole;
      this.#options.logger.error({ code: 'relay_hole', sequence: hole.sequence, hint }, fault);
      this.#options.onHole();
    }
    this.#fault = fault;
    this.#isStateAwaited = true;
    return true;
  }

  /** Whether the stream still has this message at this sequence. */
  async #isInStream({ sequence, term, number }: Named): Promise<boolean> {
    const message = await this.#options.relay.message(sequence);
    if (message === undefined) return false;
    const envelope = envelopeOf(message.bytes);
    return envelope.term === term && envelope.number === number;
  }

  #receive(message: ReceivedMessage): void {
    this.#heardAt = this.#options.now();
    try {
      const whole = this.#pieces.take(message);
      if (whole !== undefined) this.#turns.add({ ...whole, pending: message.pending });
      else if (!this.#turns.isWaiting) this.#arrivals.endMessage(message.pending);
      if (this.#turns.waitingBytes <= WAITING_BYTES_MAX) return;
      this.#isPaused = true;
      this.#endReading();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.stop();
    this.#options.onFailed(error);
  }

  #beginTurn(): void {
    // What waits has been heard: a process that does not read is not cut off.
    if (this.#isPaused) this.#heardAt = this.#options.now();
    this.#arrivals.beginTurn();
  }

  /** Begins to apply the steps, as far as this process does not have them. */
  #begin(whole: WholeSteps): Application | undefined {
    const { envelope } = whole;
    if (this.#options.installation.isForeign(envelope)) {
      this.#seek();
      return undefined;
    }
    const { kind, epoch, from, to } = envelope;
    const at = this.#at;
    if (at === undefined) {
      // A process can join only at a state.
      if (kind === 'steps') return undefined;
      return this.#apply(whole, undefined, { reason: this.#reason(epoch), isJoining: true });
    }
    const isOtherHistory = epoch !== at.epoch;
    if (isOtherHistory && kind === 'state') return this.#apply(whole, undefined);
    const isNext = this.#isPlaced || this.#follows(at, whole);
    if (isOtherHistory || !isNext || comparePlaces(from, at.place) > 0) {
      this.#meetHole(whole);
      return undefined;
    }
    this.#isPlaced = false;
    const moves = comparePlaces(to, at.place) >= 0;
    if (kind === 'steps') return this.#apply(whole, at.place, { moves });
    this.#move(whole, moves);
    return undefined;
  }

  /**
   * Steps are missing before these, or sequences went back (`isGone`). If a search has already led
   * to this message, the missing steps are gone.
   */
  #meetHole({ envelope: { term, number }, first: sequence }: WholeSteps, isGone = false): void {
    const before = this.#hole;
    this.#isGone = isGone || (before !== undefined && term === before.term && number === before.number);
    this.#hole = { sequence, term, number };
    this.#seek();
  }

  /** Why subscribers are reset when this process joins again. */
  #reason(epoch: string): ResetReason {
    const left = this.#left;
    if (left === undefined || left === epoch) return 'lagging';
    return differsInGenerationOnly(left, epoch) ? 'slot_lost' : 'epoch_changed';
  }

  /** Whether no message of the same term is missing in between. */
  #follows(at: At, { envelope, first, last }: WholeSteps): boolean {
    const firstNumber = envelope.number - (last - first);
    return envelope.term === at.term ? firstNumber === at.number + 1 : firstNumber === 1;
  }

  #apply(whole: WholeSteps, after: Place | undefined, how: Applied = {}): Application {
    const { reason, isJoining = false, moves = true } = how;
    const receiver = new StepsAfter(this.#options.steps, this.#arrivals, after, this.#sequence, reason);
    const applied = () => {
      if (receiver.wentBack) return this.#meetHole(whole, true);
      this.#arrivals.add(0);
      this.#sequence = receiver.sequence;
      this.#move(whole, moves);
      if (!isJoining) return;
      this.#left = undefined;
      this.#onJoined();
    };
    return { receiver, applied };
  }

  #move({ envelope, last }: WholeSteps, moves = true): void {
    const { epoch, term, number, to, owner, tenure } = envelope;
    const place = moves ? to : (this.#at?.place ?? to);
    this.#at = { epoch, place, sequence: last, term, number, createdAt: this.#createdAt, owner, tenure };
  }

  /** Detects what a consumer does not report: a stream that was emptied, restored or recreated. */
  #check(): void {
    const { now, relay } = this.#options;
    if (this.#isSeeking || this.#isPaused || !relay.isConnected) return;
    if (this.silenceMs < SILENT_MS || now() - this.#askedAt < SILENT_MS) return;
    this.#askedAt = now();
    void relay.bounds().then(
      (bounds) => {
        const at = this.#at;
        if (at === undefined || this.#isSeeking) return;
        if (bounds?.createdAt !== at.createdAt || bounds.last !== at.sequence) this.#seek();
      },
      () => undefined,
    );
  }
}
