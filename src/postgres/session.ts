/**
 * A connection to a target of the connection string, with known session settings. Snö sends the
 * settings in the startup packet, after the string's options. So they hold whatever the string, the
 * role, the database and the server say, and RESET ALL returns to them. Once the session is open,
 * Snö checks them: a pooler may have dropped the options.
 */
import { Socket } from 'node:net';
import pg from 'pg';
import { SnoError } from '../errors.ts';
import { type Host, resolveTarget, type SessionAttributes, type Target } from './conninfo/target.ts';
import { AttemptFailure, type Dialled, dial, type Stage } from './dial.ts';
import { AttemptTimeout, LoginFailure, logIn } from './login.ts';
import { loginFault } from './login-fault.ts';
import { OpenConnection } from './open-connection.ts';
import { askNew, requireAttributes, requireWalSender, setTimeouts } from './session-checks.ts';
import { optionsOf, PLAIN, type SessionSettings } from './session-settings.ts';

export interface SessionConfig extends pg.ClientConfig {
  /** The connection string, as libpq reads it. */
  readonly conninfo: string;
  /** The default `application_name`. */
  readonly role: string;
  /** PLAIN or PINNED. */
  readonly settings: SessionSettings;
  /** The connection also speaks the replication protocol. */
  readonly replication?: 'database';
  /** Creates the socket that is used if the connection is not encrypted. */
  readonly makeSocket?: () => Socket;
}

/** Members of pg's Client beyond its types. */
interface Internals {
  processID: number | null;
}

/** Keeps pg from reading the environment: the connection string has been resolved with it. */
const RESOLVED = { ssl: false, sslnegotiation: 'postgres', client_encoding: 'utf8' } as const;
/** A client's configuration before it connects. */
const NOWHERE = { ...RESOLVED, host: 'localhost', port: 5432, user: '-', database: '-', password: () => '' } as const;
/** The names under which Node's EventEmitter stores its state in an object. */
const OF_EMITTER = /^_(events|eventsCount|maxListeners)$/;

type ConnectCallback = (error?: Error) => void;

export class Session extends pg.Client {
  readonly #config: SessionConfig;
  readonly #settings: SessionSettings;
  readonly #isReplication: boolean;
  #socket: Socket | undefined;
  #connection: OpenConnection | undefined;
  #state: 'new' | 'opening' | 'open' = 'new';
  #isAbandoned = false;
  #isPooled = false;

  constructor(config: SessionConfig) {
    super({ ...config, ...NOWHERE } as pg.ClientConfig);
    this.#config = config;
    this.#settings = config.settings;
    this.#isReplication = config.replication !== undefined;
    // A broken connection fails its query, or the next one. Without a listener it would also end
    // the process.
    this.on('error', () => {});
  }

  override connect(): Promise<this>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): Promise<this> | undefined {
    const opened = this.#open();
    if (callback === undefined) return opened;
    opened.then(
      () => callback(),
      (error: Error) => callback(error),
    );
    return undefined;
  }

  override end(): Promise<void>;
  override end(callback: (error: Error) => void): void;
  override end(callback?: (error: Error) => void): Promise<void> | undefined {
    if (this.#state !== 'open') {
      this.abandon();
      if (callback === undefined) return Promise.resolve();
      process.nextTick(callback);
      return undefined;
    }
    if (callback === undefined) return super.end();
    super.end(callback);
    return undefined;
  }

  /** Whether a pooler shares its own connections, so that the next query may use another one. */
  get isPooled(): boolean {
    return this.#isPooled;
  }

  /** Ends the connection without a terminate message, even while it is being made. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#socket?.destroy();
  }

  /**
   * A failed attempt emits end and error, although the next one may succeed: these events are
   * hidden.
   */
  override emit(event: string, ...values: unknown[]): boolean {
    return this.#state === 'opening' && (event === 'end' || event === 'error')
      ? false
      : super.emit(event as 'error', ...(values as [Error]));
  }

  async #open(): Promise<this> {
    this.#state = 'opening';
    try {
      await this.#logIn(resolveTarget(this.#config.conninfo));
      this.#state = 'open';
      return this;
    } finally {
      if (this.#state === 'opening') this.#state = 'new';
    }
  }

  async #logIn(target: Target): Promise<void> {
    try {
      await logIn(target, (host, isEncrypted, wanted) => this.#attempt(target, host, isEncrypted, wanted));
    } catch (error) {
      if (!(error instanceof LoginFailure)) throw error;
      throw loginFault(error.failures, target, this.#isReplication);
    }
  }

  /** Throws AttemptFailure. */
  async #attempt(target: Target, host: Host, isEncrypted: boolean, wanted: SessionAttributes): Promise<void> {
    if (this.#isAbandoned)
      throw new AttemptFailure('session', host, isEncrypted, new Error('the connection attempt was aborted'));
    let stage: Stage = 'dial';
    let isLate = false;
    const { connectTimeoutMs } = target;
    const timer = setTimeout(() => {
      isLate = true;
      this.#socket?.destroy();
    }, connectTimeoutMs);
    if (connectTimeoutMs === 0) clearTimeout(timer);
    try {
      const dialled = await dial({
        target,
        host,
        isEncrypted,
        makeSocket: this.#config.makeSocket ?? (() => new Socket()),
        onSocket: (socket) => {
          this.#socket = socket;
        },
      });
      stage = 'startup';
      await this.#start(target, host, dialled, () => {
        stage = 'session';
      });
      clearTimeout(timer);
      await this.#settle(wanted);
    } catch (error) {
      clearTimeout(timer);
      this.#forget();
      const cause = isLate ? new AttemptTimeout(`no answer within ${connectTimeoutMs / 1_000} s`) : error;
      if (error instanceof AttemptFailure)
        throw isLate ? new AttemptFailure(error.stage, host, isEncrypted, cause) : error;
      throw new AttemptFailure(stage, host, isEncrypted, cause);
    }
  }

  /** Ends an attempt. Its later events are ignored. */
  #forget(): void {
    this.#connection?.removeAllListeners();
    this.#connection?.on('error', () => undefined);
    this.#connection = undefined;
    this.#socket?.destroy();
  }

  /** Becomes a new pg client on this socket, and logs in. */
  async #start(target: Target, host: Host, { socket, isEncrypted }: Dialled, onLoggedIn: () => void): Promise<void> {
    const { channelBinding, user, database, applicationName } = target;
    const connection = new OpenConnection(socket);
    this.#connection = connection;
    let isBound = false;
    connection.on('authenticationSASL', ({ mechanisms }: { readonly mechanisms: readonly string[] }) => {
      isBound = isEncrypted && mechanisms.includes('SCRAM-SHA-256-PLUS');
    });
    connection.once('authenticationOk', onLoggedIn);
    const requireBinding = () => {
      if (channelBinding === 'require' && !isBound) throw unbound(isEncrypted);
    };
    const next = new pg.Client({
      ...this.#config,
      ...RESOLVED,
      connection,
      enableChannelBinding: isEncrypted && channelBinding !== 'disable',
      host: host.address,
      port: host.port,
      user,
      database,
      password: () => {
        requireBinding();
        return passwordFor(target, host);
      },
      application_name: applicationName ?? this.#config.role,
      options: optionsOf(target.options, this.#settings),
    } as unknown as pg.ClientConfig);
    for (const name of Object.getOwnPropertyNames(next))
      if (!OF_EMITTER.test(name)) Object.defineProperty(this, name, Object.getOwnPropertyDescriptor(next, name) ?? {});
    await super.connect();
    requireBinding();
  }

  async #settle(wanted: SessionAttributes): Promise<void> {
    await this.#verify();
    if (this.#isReplication) await requireWalSender(this);
    if (wanted !== 'any') await requireAttributes(this, wanted);
    if (this.#settings !== PLAIN) await setTimeouts(this, this.#isReplication);
  }

  /** Throws `session_settings` if the session differs from the requested one. */
  async #verify(): Promise<void> {
    const names = Object.keys(this.#settings);
    const columns = names.map((name, index) => `pg_catalog.current_setting('${name}')::pg_catalog.text as s${index}`);
    const row = await askNew(this, `select ${columns.join(', ')}, pg_catalog.pg_backend_pid()::pg_catalog.text as pid`);
    const others = names.flatMap((name, index) => {
      const value = row[`s${index}`];
      return value === this.#settings[name] ? [] : [`${name} is ${value}, not ${this.#settings[name]}`];
    });
    const internals = this as unknown as Internals;
    const pid = Number(row['pid']);
    this.#isPooled = internals.processID !== pid;
    if (others.length > 0) {
      const between = this.#isPooled ? '; a pooler is between Snö and Postgres' : '';
      const message = `the session lacks settings that Snö asked for: ${others.join('; ')}${between}`;
      throw new SnoError('session_settings', message);
    }
    // A pooler invents a process id, which may be that of another backend here.
    internals.processID = pid;
  }
}

function passwordFor(target: Target, host: Host): string {
  const { value, source } = target.password(host);
  if (value !== undefined && value !== '') return value;
  const message = `cannot reach Postgres: it asks for the password of ${target.user}, which is missing; ${source}`;
  throw new SnoError('database_unreachable', message, {
    hint: 'Give it in the connection string, by PGPASSWORD, or in a password file (PGPASSFILE, ~/.pgpass) of mode 600.',
  });
}

function unbound(isEncrypted: boolean): SnoError {
  const why = isEncrypted ? 'the login by the server has none' : 'the connection is not encrypted';
  return new SnoError('database_unreachable', `cannot reach Postgres: channel_binding=require, and ${why}`, {
    hint: 'Make pg_hba.conf require scram-sha-256 over TLS (hostssl), without a pooler in between; or set channel_binding=prefer.',
  });
}
