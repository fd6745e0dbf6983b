/** A client of event streams by the rules of the HTML standard, which shows each event. */
import { once } from 'node:events';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
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
  /** The last event id, as EventSource keeps it. The caller passes it on to the next connection. */
  lastEventId: string;
  retry: number | undefined;
  comments = 0;
  isEnded = false;
  readonly #onBlock: OpenOptions['onBlock'];
  #rest = '';

  private constructor(response: IncomingMessage, lastEventId: string, onBlock: OpenOptions['onBlock']) {
    this.response = response;
    this.lastEventId = lastEventId;
    this.#onBlock = onBlock;
    response.setEncoding('utf8');
    response.on('error', () => undefined);
    response.on('close', () => (this.isEnded = true));
    response.on('data', (chunk: string) => this.#read(chunk));
  }

  /** Throws if the answer is not an event stream. */
  static async open(url: string, options: OpenOptions = {}): Promise<EventClient> {
    const response = await ask(url, options);
    if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${await text(response)}`);
    return new EventClient(response, options.headers?.['last-event-id'] ?? '', options.onBlock);
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

  #read(chunk: string): void {
    const blocks = (this.#rest + chunk).split('\n\n');
    this.#rest = blocks.pop() as string;
    for (const block of blocks) this.#dispatch(block.split('\n'));
  }

  #dispatch(lines: readonly string[]): void {
    const data: string[] = [];
    let type = 'message';
    for (const line of lines) {
      const [field, value] = [line.split(':', 1)[0], line.slice(line.indexOf(':') + 1).replace(/^ /, '')];
      if (field === '') this.comments++;
      else if (field === 'data') data.push(value);
      else if (field === 'event') type = value;
      else if (field === 'id') this.lastEventId = value;
      else if (field === 'retry') this.retry = Number(value);
      else throw new Error(`a line that is not a field: ${line.slice(0, 200)}`);
    }
    let event: StreamEvent | undefined;
    if (data.length > 0) {
      event = JSON.parse(data.join('\n')) as StreamEvent;
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
