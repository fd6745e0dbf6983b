/**
 * From this server version on, the first logical slot enables decoding, and `wal_level = replica`
 * is enough.
 */
const SWITCHED_BY_SLOTS_SINCE = 190_000;

/**
 * Whether a server of this version and wal_level can decode row changes. `effective_wal_level` (19)
 * does not show it: it is `replica` until a logical slot exists.
 */
export function canDecode(serverVersion: number, walLevel: string): boolean {
  return walLevel === 'logical' || (walLevel === 'replica' && serverVersion >= SWITCHED_BY_SLOTS_SINCE);
}
