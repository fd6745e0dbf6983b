/** How long clients are sent away when the service stops. */

/** Clients that may come back to other servers each second: each handshake, access check and snapshot costs them some ms. */
const CLIENTS_PER_SECOND = 50;

/** Seconds over which `clients` are spread: none for one alone, and `secondsMax` for a crowd. */
export function drainSeconds(secondsMax: number, clients: number): number {
  return Math.min(secondsMax, Math.max(0, clients - 1) / CLIENTS_PER_SECOND);
}
