/**
 * The service of pg-logical-replication on a session of Snö's, for one connection. It starts the
 * stream by an output plugin and reports its start and its end. Its own handling of messages and
 * acknowledgements stays unused: docs/decisions/0001-replication-connection.md.
 */
import type { Socket } from 'node:net';
import { LogicalReplicationService } from 'pg-logical-replication';
import type { Session } from '../postgres/session.ts';

export type OutputPlugin = Parameters<LogicalReplicationService['subscribe']>[0];

/** Members of pg's Connection beyond its types. */
export interface ReplicationConnection {
  readonly stream: Socket;
  sendCopyFromChunk(chunk: Buffer): void;
  /** Sends the terminate message, then closes. */
  end(): void;
}

/** The service with its hidden `client`: `subscribe` takes the connection from it. */
const Service = LogicalReplicationService as unknown as new (
  ...args: ConstructorParameters<typeof LogicalReplicationService>
) => Pick<LogicalReplicationService, 'isStop' | 'once' | 'subscribe'> & {
  client(): Promise<[Session, ReplicationConnection]>;
};

export class ReplicationService extends Service {
  readonly #session: Session;
  /** Resolves once the server has accepted START_REPLICATION. */
  readonly accepted: Promise<void>;

  /**
   * `session` is open. `_client` of the package stays null, so the package neither writes to the
   * session nor ends it.
   */
  constructor(session: Session) {
    super({}, { acknowledge: { auto: false, timeoutSeconds: 0 } });
    this.#session = session;
    this.accepted = new Promise((resolve) => {
      this.once('start', resolve);
    });
  }

  override client(): Promise<[Session, ReplicationConnection]> {
    return Promise.resolve([this.#session, connectionOf(this.#session)]);
  }
}

/** The connection of a session that is open. */
export function connectionOf(session: Session): ReplicationConnection {
  return (session as unknown as { readonly connection: ReplicationConnection }).connection;
}
