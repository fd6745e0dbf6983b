/**
 * A bare client: sends the given frames and keeps every frame that it receives. It does not use the
 * client library, so the tests assert the protocol itself.
 */
import { WebSocket } from 'ws';
import type { ServiceProcess } from '../support/service.ts';

export interface RowEvent {
  readonly op: string;
  readonly key?: Readonly<Record<string, unknown>>;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly unchanged?: readonly string[];
  readonly old?: Readonly<Record<string, unknown>>;
}

/** Any frame of the server: the members that its type has. */
export interface Frame {
  readonly type: string;
  readonly channel?: string;
  readonly position?: string;
  readonly recovered?: boolean;
  readonly lsn?: string;
  readonly xid?: number;
  readonly committed_at?: string;
  readonly trace?: string;
  readonly events?: readonly RowEvent[];
  readonly rows?: readonly { readonly key: Record<string, unknown>; readonly data: Record<string, unknown> }[];
  readonly part?: number;
  readonly last?: boolean;
  readonly reason?: string;
  readonly code?: string;
  readonly message?: string;
  readonly event?: string;
  readonly data?: unknown;
  readonly epoch?: string;
  readonly connection?: string;
  readonly heartbeat_s?: number;
  readonly from?: string | null;
  readonly members?: readonly PresentMember[];
  readonly joined?: readonly PresentMember[];
  readonly left?: readonly PresentMember[];
}

export interface PresentMember {
  readonly id: string;
  readonly info: Readonly<Record<string, unknown>>;
}

export type SubscribeOptions = {
  readonly since?: string;
  readonly snapshot?: boolean;
  readonly presence?: boolean | 'watch';
  readonly old?: boolean;
};

const WAIT_MS = 50_000;

interface Waiter {
  readonly attempt: () => boolean;
}

export class RawClient {
  readonly frames: Frame[] = [];
  readonly closed: Promise<number>;
  readonly #socket: WebSocket;
  readonly #waiters = new Set<Waiter>();
  #isClosed = false;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      socket.on('close', (code) => {
        this.#isClosed = true;
        this.#wake();
        resolve(code);
      });
    });
    socket.on('error', () => undefined);
    socket.on('message', (data) => {
      this.frames.push(JSON.parse(String(data)) as Frame);
      this.#wake();
    });
  }

  /**
   * Opens a connection and sends hello, with a token if one is given. Does not wait for the answer.
   * Like browsers it offers compression, unless `perMessageDeflate` is false.
   */
  static async open(
    service: Pick<ServiceProcess, 'url' | 'certificate'>,
    token?: string,
    perMessageDeflate = true,
  ): Promise<RawClient> {
    const socket = new WebSocket(service.url, { ca: service.certificate.cert, maxPayload: 0, perMessageDeflate });
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    client.send({ type: 'hello', ...(token === undefined ? {} : { token }) });
    return client;
  }

  /** The extensions that were negotiated. */
  get extensions(): string {
    return this.#socket.extensions;
  }

  send(frame: Readonly<Record<string, unknown>>): void {
    this.#socket.send(JSON.stringify(frame));
  }

  /** The answer to a subscription: `subscribed`, `reset` or `error`. */
  async subscribe(channel: string, options: SubscribeOptions = {}): Promise<Frame> {
    const from = this.frames.length;
    this.send({ type: 'subscribe', channel, ...options });
    return this.wait(
      `an answer to subscribe ${channel}`,
      from,
      (frame) => frame.channel === channel && isAnswer(frame),
    );
  }

  /** Sends a frame as this text. */
  sendText(text: string): void {
    this.#socket.send(text);
  }

  /** The texts of the frames that arrive from now on. */
  texts(): readonly string[] {
    const texts: string[] = [];
    this.#socket.prependListener('message', (data) => texts.push(String(data)));
    return texts;
  }

  /** Requests a heartbeat by `ping`, and returns its position. */
  async heartbeat(): Promise<string> {
    const from = this.frames.length;
    this.send({ type: 'ping' });
    return (await this.wait('a heartbeat', from, ({ type }) => type === 'heartbeat')).position as string;
  }

  /**
   * Resolves with the first frame from index `from` on for which `matches` holds. Waits for it if
   * it has not arrived.
   */
  wait(what: string, from: number, matches: (frame: Frame) => boolean): Promise<Frame> {
    let next = from;
    return this.#until(what, () => {
      for (; next < this.frames.length; next++) {
        const frame = this.frames[next] as Frame;
        if (matches(frame)) return frame;
      }
      return undefined;
    });
  }

  /** Waits until a condition over the frames holds; evaluates it after each frame. */
  async until(what: string, condition: () => boolean): Promise<void> {
    await this.#until(what, () => condition() || undefined);
  }

  /** Frames of one channel, from index `from` on. */
  of(channel: string, type = 'changes', from = 0): Frame[] {
    return this.frames.slice(from).filter((frame) => frame.channel === channel && frame.type === type);
  }

  /** The events of a channel's changes, in order. */
  events(channel: string, from = 0): RowEvent[] {
    return this.of(channel, 'changes', from).flatMap(({ events }) => events ?? []);
  }

  /** Stops reading from the socket: sent bytes stay in the kernel, then in the server. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Cuts the connection without a close frame. */
  cut(): void {
    this.#socket.terminate();
  }

  #until<T>(what: string, probe: () => T | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => fail(`not within ${WAIT_MS} ms`), WAIT_MS);
      const waiter: Waiter = {
        attempt: () => {
          const value = probe();
          if (value !== undefined) resolve(value);
          else if (this.#isClosed) fail('the connection was closed');
          else return false;
          clearTimeout(timer);
          return true;
        },
      };
      const fail = (why: string) => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        reject(
          new Error(`${what}: ${why}; the last frames are ${JSON.stringify(this.frames.slice(-5)).slice(0, 2_000)}`),
        );
      };
      if (!waiter.attempt()) this.#waiters.add(waiter);
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters) if (waiter.attempt()) this.#waiters.delete(waiter);
  }
}

function isAnswer({ type }: Frame): boolean {
  return type === 'subscribed' || type === 'reset' || type === 'error';
}
