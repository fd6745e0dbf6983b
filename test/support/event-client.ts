/** A client of event streams by the rules of the HTML standard, which shows each event. */
import { once } from 'node:events';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { type Block, EventParser } from './event-parser.ts';
import { until } from './wait.ts';

export interface StreamEvent {
  readonly type: string;
  readonly channel?: string;
  readonly position?: string;
  readonly trace?: string;
  readonly code?: string;
  readonly reason?: string;
  readonly data?: unknown;
  readonly events?: readonly {
    readonly op: string;
    readonly key?: Record<string, unknown>;
    readonly data?: unknown;
    readonly old?: unknown;
  }[];
  readonly rows?: readonly { readonly key: Record<string, unknown>; readonly data: unknown }[];
  readonly part?: number;
  readonly last?: boolean;
  readonly recovered?: boolean;
  readonly left?: readonly { readonly id: string }[];
}

interface OpenOptions {
  readonly ca?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
  /** Called after each event, and with undefined for an id without an event. */
  readonly onBlock?: (event: StreamEvent | undefined, lastEventId: string) => void;
}

export class EventClient {
  readonly response: IncomingMessage;
  readonly events: StreamEvent[] = [];
  isEnded = false;
  readonly #onBlock: OpenOptions['onBlock'];
  readonly #parser: EventParser;

  private constructor(response: IncomingMessage, lastEventId: string, onBlock: OpenOptions['onBlock']) {
    this.response = response;
    this.#onBlock = onBlock;
    this.#parser = new EventParser('with its event', lastEventId, (block) => this.#dispatch(block));
    response.setEncoding('utf8');
    response.on('error', () => undefined);
    response.on('close', () => (this.isEnded = true));
    response.on('data', (chunk: string) => this.#parser.read(chunk));
  }

  /** Throws if the answer is not an event stream. */
  static async open(url: string, options: OpenOptions = {}): Promise<EventClient> {
    const response = await ask(url, options);
    if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${await text(response)}`);
    return new EventClient(response, options.headers?.['last-event-id'] ?? '', options.onBlock);
  }

  /** The last event id, as EventSource keeps it. The caller passes it on to the next connection. */
  get lastEventId(): string {
    return this.#parser.lastEventId;
  }

  /** How long EventSource would wait before it reconnects, in ms. */
  get retry(): number | undefined {
    return this.#parser.retry;
  }

  get comments(): number {
    return this.#parser.comments;
  }

  of(channel: string): readonly StreamEvent[] {
    return this.events.filter((event) => event.channel === channel);
  }

  wait(what: string, isIt: (event: StreamEvent) => boolean): Promise<StreamEvent> {
    return until(() => this.events.find(isIt), `${what} in ${JSON.stringify(this.events.slice(-5)).slice(0, 2_000)}`);
  }

  ended(): Promise<unknown> {
    return until(() => this.isEnded, 'the stream ends');
  }

  cut(): void {
    this.response.destroy();
  }

  #dispatch({ type, data }: Block): void {
    let event: StreamEvent | undefined;
    if (data !== undefined) {
      event = JSON.parse(data) as StreamEvent;
      if (event.type !== type) throw new Error(`${type} has data of ${event.type}`);
      this.events.push(event);
    }
    this.#onBlock?.(event, this.lastEventId);
  }
}

/** Sends a request, and resolves with the head of its answer. */
export async function ask(url: string, options: OpenOptions = {}): Promise<IncomingMessage> {
  const { ca, headers = {}, method = 'GET' } = options;
  const request = url.startsWith('https:') ? tlsRequest : plainRequest;
  const sent = request(url, { method, headers, agent: false, ...(ca === undefined ? {} : { ca }) });
  sent.on('error', () => undefined);
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}
