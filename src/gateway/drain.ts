/** Decides over how many seconds clients are disconnected when the service stops. */

/**
 * Maximum clients per second that may move to other servers. Each handshake, access check and
 * snapshot costs them some ms.
 */
const CLIENTS_PER_SECOND = 50;

/** Seconds over which `clients` are disconnected: 0 for a single client, at most `secondsMax`. */
export function drainSeconds(secondsMax: number, clients: number): number {
  return Math.min(secondsMax, Math.max(0, clients - 1) / CLIENTS_PER_SECOND);
}
