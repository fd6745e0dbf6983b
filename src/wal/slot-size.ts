import type pg from 'pg';

/** How much WAL Postgres keeps for a slot, as last measured. */
export class SlotSize {
  readonly #pool: pg.Pool;
  readonly #slot: string;
  /** Undefined while it is not known. */
  bytes: number | undefined;

  constructor(pool: pg.Pool, slot: string) {
    this.#pool = pool;
    this.#slot = slot;
  }

  /** Never rejects. */
  async measure(): Promise<void> {
    const sql =
      'select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::text as bytes from pg_replication_slots where slot_name = $1';
    try {
      const { rows } = await this.#pool.query<{ bytes: string | null }>(sql, [this.#slot]);
      this.bytes = rows[0]?.bytes == null ? undefined : Number(rows[0].bytes);
    } catch {
      this.bytes = undefined;
    }
  }
}
