/** Client connections. See ../types.ts. */
import type { Subscriber } from './channels.ts';
import type { Page } from './common.ts';

// GET /api/connections?offset=&limit=&search=&channel=

export interface Connections extends Page {
  /** Slow ones first, those with the most frames behind or bytes waiting. Then the oldest. */
  readonly connections: readonly ConnectionInfo[];
  /** Connections of this process and its workers, whether they match or not. */
  readonly open: number;
  /** Connections that are behind, or that have bytes waiting. */
  readonly slow: number;
  /** Workers that did not answer in time: their connections are missing. */
  readonly silentWorkers: readonly number[];
}

export interface ConnectionInfo {
  readonly id: string;
  /** Claim `sub` of the token. Null: no token, or no claim `sub`. */
  readonly user: string | null;
  /** The client's address as limits count it: an IPv6 network, or an IPv4 address. */
  readonly address: string;
  /** `ws`: Snö's websocket protocol. `sse`: an event stream. `pusher`: Pusher's protocol. */
  readonly protocol: 'ws' | 'sse' | 'pusher';
  readonly isCompressed: boolean;
  readonly connectedAt: number;
  readonly tokenExpiresAt: number | null;
  /** Frames of its channels that have not been written to its socket. 0: it is live. */
  readonly behindFrames: number;
  /** Bytes that its socket has not accepted. */
  readonly waitingBytes: number;
  readonly sentBytes: number;
  readonly subscriptions: number;
  /** At most 20 of them. */
  readonly channels: readonly { readonly name: string; readonly state: Subscriber['state'] }[];
  /** Number of the worker that has it. Null: this process has it. */
  readonly worker: number | null;
}

// POST /api/connections/disconnect

export interface DisconnectRequest {
  /** Id of the connection. */
  readonly connection: string;
}

export interface DisconnectAnswer {
  /**
   * False: no connection has this id. The client receives close code 1001 and may connect again:
   * access views decide what it may join.
   */
  readonly isDisconnected: boolean;
  /** Workers that did not answer in time. The one that has the connection closes it later. */
  readonly silentWorkers: readonly number[];
}
