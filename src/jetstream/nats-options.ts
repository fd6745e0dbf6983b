/** How Snö connects to NATS. */
import { readFileSync } from 'node:fs';
import { type ConnectionOptions, credsAuthenticator } from '@nats-io/transport-node';
import type { RelayOptions } from './relay-options.ts';

/** How long to wait for the server's answer to a request, in ms. */
export const ANSWER_MS = 5_000;
const PING_MS = 2_000;
/** Unanswered pings after which the connection counts as broken. */
const PINGS_OUT_MAX = 2;
const RECONNECT_MS = 250;

/** Returns the options of the NATS client. It reconnects by itself, without limit. */
export function natsOptions({ servers, credsFile, caFile }: RelayOptions): ConnectionOptions {
  return {
    ...addressesOf(servers),
    name: 'sno',
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    reconnectJitter: RECONNECT_MS,
    // Credentials may be renewed while this process runs.
    ignoreAuthErrorAbort: true,
    timeout: ANSWER_MS,
    pingInterval: PING_MS,
    maxPingOut: PINGS_OUT_MAX,
    noAsyncTraces: true,
    ...(credsFile === undefined ? {} : { authenticator: credsAuthenticator(() => readFileSync(credsFile)) }),
    ...(caFile === undefined ? {} : { tls: { caFile } }),
  };
}

/**
 * Splits URLs, since the client takes addresses without user and password. A user without a
 * password is a token, as in NATS's own tools.
 */
function addressesOf(servers: readonly string[]): Pick<ConnectionOptions, 'servers' | 'user' | 'pass' | 'token'> {
  const urls = servers.map((server) => new URL(server));
  const named = urls.find(({ username }) => username !== '');
  const addresses = { servers: urls.map(({ protocol, host }) => `${protocol}//${host}`) };
  if (named === undefined) return addresses;
  const [user, pass] = [decodeURIComponent(named.username), decodeURIComponent(named.password)];
  return pass === '' ? { ...addresses, token: user } : { ...addresses, user, pass };
}
