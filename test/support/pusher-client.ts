/** A minimal client of Pusher's protocol, which keeps the frames that it receives. */
import { createHash, createHmac } from 'node:crypto';
import { type ClientOptions, WebSocket } from 'ws';
import { until } from './wait.ts';

export interface PusherFrame {
  readonly event: string;
  readonly channel?: string;
  /** Parsed. */
  readonly data?: Readonly<Record<string, unknown>>;
}

export class PusherClient {
  readonly socket: WebSocket;
  readonly frames: PusherFrame[] = [];
  closeCode: number | undefined;
  status: number | undefined;

  /** `url`: up to and including the key. */
  constructor(url: string, options: ClientOptions = {}, query = 'protocol=7&client=js&version=8.6.0') {
    this.socket = new WebSocket(`${url}?${query}`, options);
    this.socket.on('message', (text) => {
      const { data, ...frame } = JSON.parse(String(text)) as { event: string; data?: string };
      this.frames.push(data === undefined ? frame : { ...frame, data: JSON.parse(data) as Record<string, unknown> });
    });
    this.socket.on('close', (code) => {
      this.closeCode = code;
    });
    this.socket.on('error', () => {});
    this.socket.on('unexpected-response', (_request, response) => {
      this.status = response.statusCode;
    });
  }

  send(event: string, data: unknown = {}): void {
    this.socket.send(JSON.stringify({ event, data }));
  }

  subscribe(channel: string, auth?: string): void {
    this.send('pusher:subscribe', { channel, auth });
  }

  /** Returns the next frame of this event, and of this channel if one is named. */
  wait(event: string, channel?: string, from = 0): Promise<PusherFrame> {
    const isWanted = (frame: PusherFrame) => frame.event === event && (channel ?? frame.channel) === frame.channel;
    return until(() => this.frames.slice(from).find(isWanted), `${event} ${channel ?? ''}; closed: ${this.closeCode}`);
  }

  /** Resolves with the socket id. */
  async established(): Promise<string> {
    return (await this.wait('pusher:connection_established')).data?.['socket_id'] as string;
  }

  succeeded(channel: string, from = 0): Promise<PusherFrame> {
    return this.wait('pusher_internal:subscription_succeeded', channel, from);
  }

  closed(): Promise<number> {
    return until(() => this.closeCode, 'the client is closed');
  }

  events(channel: string): string[] {
    return this.frames.filter((frame) => frame.channel === channel).map(({ event }) => event);
  }
}

export function signed(secret: string, text: string): string {
  return createHmac('sha256', secret).update(text).digest('hex');
}

/** The path and query of a signed request to the HTTP API. */
export function signedPath(
  { key, secret }: { readonly key: string; readonly secret: string },
  method: string,
  path: string,
  body: string,
  more: Readonly<Record<string, string>> = {},
): string {
  const parameters: Record<string, string> = {
    auth_key: key,
    auth_timestamp: String(Math.floor(Date.now() / 1_000)),
    auth_version: '1.0',
    ...(body === '' ? {} : { body_md5: createHash('md5').update(body).digest('hex') }),
    ...more,
  };
  const query = Object.keys(parameters)
    .sort()
    .map((name) => `${name}=${parameters[name]}`)
    .join('&');
  return `${path}?${query}&auth_signature=${signed(secret, `${method}\n${path}\n${query}`)}`;
}
