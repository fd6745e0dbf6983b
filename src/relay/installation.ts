/**
 * Identifies the installation whose history a stream carries: its database and its slot. All its
 * machines share one stream. A stream of another installation has rows of another database.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { SnoError } from '../errors.ts';

/** Bytes of an installation's id. */
export const OWNER_BYTES = 5;
/** The owner in messages of an older Snö. */
export const UNKNOWN_OWNER = '0'.repeat(2 * OWNER_BYTES);

/** Says which installation wrote a message, and during which of its tenures. */
export interface Ownership {
  /** The id of the installation, as hex; see installation.ts. */
  readonly owner: string;
  /** Increased whenever another installation takes the stream. */
  readonly tenure: number;
}

/** Whether both messages belong to one history, and not to two between which the owner changed. */
export function isSameTenure(a: Ownership, b: Ownership): boolean {
  return (a.owner === b.owner || a.owner === UNKNOWN_OWNER || b.owner === UNKNOWN_OWNER) && a.tenure === b.tenure;
}

/** A database keeps its oid when a standby is promoted. */
const DATABASE = `
  select (select system_identifier from pg_control_system())::text as system,
    (select oid from pg_database where datname = current_database())::text as database`;

/** Returns the id of the installation. Throws `database_unreachable`. */
export async function readInstallation(database: Pick<pg.ClientBase, 'query'>, slot: string): Promise<string> {
  try {
    const { rows } = await database.query<{ readonly system: string; readonly database: string }>(DATABASE);
    const { system, database: oid } = rows[0] as (typeof rows)[number];
    return createHash('sha256')
      .update(`${system} ${oid} ${slot}`)
      .digest('hex')
      .slice(0, 2 * OWNER_BYTES);
  } catch (cause) {
    throw new SnoError('database_unreachable', `Postgres could not be asked: ${(cause as Error).message}`, { cause });
  }
}

export class Installation {
  readonly #read: () => Promise<string>;
  #id: string | undefined;

  /** `read` returns the id. */
  constructor(read: () => Promise<string>) {
    this.#read = read;
  }

  /** Returns the id. Rejects as `read` does. */
  async id(): Promise<string> {
    this.#id ??= await this.#read();
    return this.#id;
  }

  /** Whether another installation wrote a message, as far as this process knows. */
  isForeign({ owner }: Pick<Ownership, 'owner'>): boolean {
    return owner !== UNKNOWN_OWNER && this.#id !== undefined && owner !== this.#id;
  }

  /**
   * Whether another installation wrote a message. The id is read again before this is true: the
   * database's address may lead to another server by now.
   */
  async isSurelyForeign(envelope: Pick<Ownership, 'owner'>): Promise<boolean> {
    await this.id();
    if (!this.isForeign(envelope)) return false;
    this.#id = await this.#read();
    return this.isForeign(envelope);
  }
}

/** Returns the error for a stream that carries the history of another installation. */
export function foreignStream(stream: string): SnoError {
  return new SnoError(
    'relay_stream',
    `the stream ${stream} carries the history of another database, or of another slot of this one`,
    {
      hint: 'Give each installation its own SNO_NATS_STREAM, and all machines of one installation the same SNO_DATABASE_URL and SNO_SLOT. If the database was moved, delete the stream, or wait: a stream that receives nothing is taken.',
    },
  );
}
