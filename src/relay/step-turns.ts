/**
 * Applies steps in turns of the event loop. Each turn applies some bytes of events at most, so that
 * sockets send what was written before the next turn writes more. Otherwise a burst would run past
 * clients that could have kept up.
 */
import { Deque } from '../deque.ts';
import { StepReader, type StepReceiver } from './step-reader.ts';

/** Steps that are being applied. */
export interface Application {
  readonly receiver: StepReceiver;
  /** Called when all of the steps have been applied. */
  readonly applied: () => void;
}

export interface StepTurnsOptions<Message> {
  /** Begins to apply a message. Undefined: it has no steps that are needed. */
  readonly begin: (message: Message) => Application | undefined;
  /** A message has been applied, or had no steps. `hasMore`: others wait here. */
  readonly ended: (message: Message, hasMore: boolean) => void;
  /** Whether enough events were applied in this turn. */
  readonly isTurnOver: () => boolean;
  readonly beginTurn: () => void;
  /** All messages have been applied, some of them in later turns than they arrived. */
  readonly caughtUp: () => void;
  readonly failed: (error: unknown) => void;
}

interface Current<Message> extends Application {
  readonly message: Message;
  readonly reader: StepReader;
}

export class StepTurns<Message extends { readonly steps: Buffer }> {
  readonly #options: StepTurnsOptions<Message>;
  readonly #waiting = new Deque<Message>();
  #bytes = 0;
  #current: Current<Message> | undefined;
  #turn: NodeJS.Immediate | undefined;

  constructor(options: StepTurnsOptions<Message>) {
    this.#options = options;
  }

  /** Bytes of the steps of messages that wait. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /** Whether a message waits, or has been applied in part. */
  get isWaiting(): boolean {
    return this.#current !== undefined || this.#waiting.length > 0;
  }

  /** Applies the message, at once if the turn is not over. */
  add(message: Message): void {
    this.#waiting.push(message);
    this.#bytes += message.steps.length;
    if (this.#turn === undefined) this.#work();
  }

  /** Drops the messages that wait. Applies the rest of one that has been applied in part. */
  drop(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    this.#waiting.clear();
    this.#bytes = 0;
    const current = this.#current;
    if (current === undefined) return;
    this.#current = undefined;
    current.reader.read(current.receiver);
    current.applied();
  }

  #work(): void {
    const { isTurnOver, ended } = this.#options;
    while (!isTurnOver()) {
      const current = this.#next();
      if (current === undefined) return;
      // if it fails, it must not be continued
      this.#current = undefined;
      if (current.reader.read(current.receiver, isTurnOver)) {
        current.applied();
        ended(current.message, this.isWaiting);
      } else this.#current = current;
    }
    this.#awaitTurn();
  }

  #next(): Current<Message> | undefined {
    const { begin, ended } = this.#options;
    while (this.#current === undefined) {
      const message = this.#waiting.shift();
      if (message === undefined) return undefined;
      this.#bytes -= message.steps.length;
      const application = begin(message);
      if (application === undefined) ended(message, this.isWaiting);
      else this.#current = { ...application, message, reader: new StepReader(message.steps) };
    }
    return this.#current;
  }

  #awaitTurn(): void {
    const { beginTurn, caughtUp, failed } = this.#options;
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      beginTurn();
      try {
        this.#work();
        if (!this.isWaiting) caughtUp();
      } catch (error) {
        failed(error);
      }
    });
  }
}
