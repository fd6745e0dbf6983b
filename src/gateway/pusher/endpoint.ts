/** Pusher clients at the client port: which upgrades are theirs, and what their URL names. */
import type { Client } from '../clients.ts';
import type { NetworkSocket } from '../signs-of-life.ts';
import type { ClientSocket } from '../sno/socket.ts';
import { CODE, type PusherCode } from './codes.ts';
import { PusherConnection, type PusherOrigin } from './connection.ts';
import { PusherHttp, type PusherHttpServices } from './http.ts';

/** Why a client cannot be served by its URL. */
interface Problem {
  readonly code: PusherCode;
  readonly message: string;
}

/** The protocol versions for which Snö sends the same frames. */
const VERSIONS = [5, 6, 7];

export class PusherEndpoint {
  readonly http: PusherHttp;
  readonly #services: PusherHttpServices;

  constructor(services: PusherHttpServices) {
    this.#services = services;
    this.http = new PusherHttp(services);
  }

  /** Ends the user's connections among these. */
  signOut(user: string, clients: Iterable<Client>): void {
    for (const client of clients) if (client instanceof PusherConnection && client.user === user) client.signOut();
  }

  /** Whether a websocket at this URL is a Pusher client's. */
  serves(url: string): boolean {
    return /^\/app\/[^/?]+(\?|$)/.test(url);
  }

  /** The client waits until `begin`. */
  connect(
    socket: ClientSocket,
    network: NetworkSocket,
    url: string,
    origin: Omit<PusherOrigin, 'problem'>,
  ): PusherConnection {
    return new PusherConnection(socket, network, this.#services, { ...origin, problem: this.#problemOf(url) });
  }

  #problemOf(url: string): Problem | undefined {
    const [path = '', query] = url.split('?', 2);
    if (path !== `/app/${this.#services.app.key}`)
      return { code: CODE.appUnknown, message: 'the key is not that of SNO_PUSHER_KEY' };
    const version = new URLSearchParams(query).get('protocol');
    if (version === null) return { code: CODE.versionMissing, message: 'the URL names no protocol' };
    if (!/^\d+$/.test(version))
      return { code: CODE.versionInvalid, message: 'the protocol in the URL is not a number' };
    if (VERSIONS.includes(Number(version))) return undefined;
    return { code: CODE.versionUnsupported, message: `the protocol is not one of ${VERSIONS.join(', ')}` };
  }
}
