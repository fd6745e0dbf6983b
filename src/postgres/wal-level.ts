/** From this server version on, the first logical slot switches decoding on, and `wal_level = replica` allows it. */
const SWITCHED_BY_SLOTS_SINCE = 190_000;

/**
 * Whether a server of this version and wal_level can decode row changes. `effective_wal_level` (19) does not tell: it is
 * `replica` until there is a logical slot.
 */
export function canDecode(serverVersion: number, walLevel: string): boolean {
  return walLevel === 'logical' || (walLevel === 'replica' && serverVersion >= SWITCHED_BY_SLOTS_SINCE);
}
