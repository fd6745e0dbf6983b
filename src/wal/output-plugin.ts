/** pgoutput with the options that Snö wants, as an output plugin of pg-logical-replication. */
import type pg from 'pg';
import { SnoError } from '../errors.ts';
import { NO_TIMEOUT_MS, timed } from '../postgres/connect.ts';
import { quoteIdentifier, quoteLiteral } from '../postgres/quote.ts';
import type { OutputPlugin } from './replication-service.ts';

export interface OutputOptions {
  readonly publication: string;
  /** Whether Postgres sends large transactions while they are in progress. */
  readonly inProgress: boolean;
}

/**
 * Maximum memory of the walsender for changes of transactions in progress, in kB. Beyond it, the
 * walsender sends the largest of them, and other commits wait meanwhile.
 */
const WORK_MEM_KB_MAX = 2_048;

export class PgoutputMessages implements OutputPlugin {
  readonly name = 'pgoutput';
  readonly options: OutputOptions;

  constructor(options: OutputOptions) {
    this.options = options;
  }

  /**
   * If the publication is missing, Postgres 15 to 17 break the stream at the first change, and 18
   * leaves changes out silently.
   */
  async requirePublication(client: pg.Client): Promise<void> {
    const { publication } = this.options;
    const { rowCount } = await client.query(`select from pg_publication where pubname = ${quoteLiteral(publication)}`);
    if (rowCount === 0) throw new SnoError('setup_required', `publication ${publication} does not exist`);
  }

  /** Prepares the session, before the stream starts. */
  async prepare(client: pg.Client): Promise<void> {
    if (!this.options.inProgress) return;
    await client.query(
      `select set_config(name, least(setting::int, ${WORK_MEM_KB_MAX})::text, false)
       from pg_settings where name = 'logical_decoding_work_mem'`,
    );
  }

  /** Starts the stream at `from`. Resolves once it has ended. */
  start(client: pg.Client, slot: string, from: string): Promise<unknown> {
    const { publication, inProgress } = this.options;
    // The grammar of replication commands has no E'' strings.
    const publications = `'${quoteIdentifier(publication).replaceAll("'", "''")}'`;
    const version = inProgress ? `proto_version '2', streaming 'on'` : `proto_version '1'`;
    const options = `${version}, publication_names ${publications}, messages 'true'`;
    const command = `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${from} (${options})`;
    return client.query(timed(command, NO_TIMEOUT_MS));
  }

  /** CopyReader takes each message out of the socket's buffer, so that none arrives here. */
  parse(): never {
    throw new SnoError('decode_failed', 'a message of the stream went past its reader');
  }
}
