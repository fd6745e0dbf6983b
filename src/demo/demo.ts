/**
 * The demo: an embedded Postgres, a Snö that reads it, and a page that shows both. It keeps
 * nothing: the database is deleted when it stops.
 *
 * Snö runs as `sno start` would run it, with sql/demo as its rules. Browsers refuse self-signed
 * certificates, so the page and the websocket go without TLS, which is only ever allowed on
 * loopback.
 */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import pg from 'pg';
import { readSettings } from '../config/read.ts';
import type { Logger } from '../logger.ts';
import { type Service, startService } from '../main.ts';
import { type EmbeddedPostgres, startPostgres } from '../postgres/embedded.ts';
import { openBrowser } from './browser.ts';
import { Life } from './life.ts';
import { type DemoServer, startDemoServer } from './server.ts';
import { SqlBox } from './sql-box.ts';

export interface DemoOptions {
  /** Port of the page. Default: 8080 or the next free port. */
  readonly port?: number | undefined;
  /** Whether to open the page in a browser, if possible. */
  readonly open: boolean;
  readonly logger: Logger;
  /** Receives text for the person at the terminal, line by line. */
  say(line: string): void;
}

export interface Demo {
  /** The page. */
  readonly url: string;
  /** Connects to the database as the SQL box does. */
  readonly databaseUrl: string;
  /** Rejects when Snö cannot continue. Never resolves. */
  readonly failed: Promise<never>;
  /** Ends everything and deletes the database. */
  stop(): Promise<void>;
}

const RULES = fileURLToPath(new URL('../../sql/demo', import.meta.url));
/** The claim that makes the page's visitor a member of the board (sql/demo/04_seed.sql). */
const VISITOR = 'you';
const TOKEN_LIFETIME = '15m';

/**
 * Resolves once the page can be opened. If a part does not start, stops everything and throws a
 * SnoError.
 */
export async function runDemo(options: DemoOptions): Promise<Demo> {
  const demo = new RunningDemo(options);
  try {
    await demo.start();
  } catch (error) {
    await demo.stop();
    throw error;
  }
  return demo;
}

class RunningDemo implements Demo {
  url = '';
  databaseUrl = '';
  failed: Promise<never> = new Promise(() => {});
  readonly #options: DemoOptions;
  readonly #secret = randomBytes(32).toString('base64url');
  readonly #password = randomBytes(12).toString('base64url');
  #postgres: EmbeddedPostgres | undefined;
  #server: DemoServer | undefined;
  #service: Service | undefined;
  #box: SqlBox | undefined;
  #life: Life | undefined;

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { port, open, logger, say } = this.#options;
    say('Starting Postgres and Snö …');
    this.#postgres = await startPostgres({ onLog: (line) => logger.debug({ line }, 'postgres') });
    this.databaseUrl = this.#visitorUrl(this.#postgres);
    const box = new SqlBox(this.databaseUrl);
    this.#box = box;
    this.#server = await startDemoServer({ port, run: (sql) => box.run(sql), token: () => this.#token() });
    this.#service = await this.#startSno(this.#postgres, this.#server);
    this.failed = this.#service.failed;
    await this.#admitVisitors(this.#postgres);
    // Connects now, so that the visitor's first run does not wait.
    await box.run('select 1');
    this.#life = new Life(this.databaseUrl, logger);
    this.#life.start();
    const { host, port: snoPort, adminPort } = this.#service;
    this.#server.connectTo({ url: `ws://${host}:${snoPort}/v1`, clientUrl: `http://${host}:${snoPort}/sno.js` });
    this.url = this.#server.url;
    say('');
    say(`  Open    ${this.url}`);
    say(`  Or      psql ${this.databaseUrl}`);
    say(`  Inside  http://127.0.0.1:${adminPort}/ (the dashboard of Snö)`);
    say('');
    say('Commits made there show on the page. Ctrl-C ends the demo and deletes its database.');
    if (open) openBrowser(this.url);
  }

  async stop(): Promise<void> {
    const faults: unknown[] = [];
    // Stopped one after another, even if one fails: no server may be left running.
    for (const end of [
      () => this.#life?.stop(),
      () => this.#server?.close(),
      () => this.#box?.close(),
      () => this.#service?.stop(),
      () => this.#postgres?.stop(),
    ]) {
      try {
        await end();
      } catch (error) {
        faults.push(error);
      }
    }
    if (faults.length > 0) throw faults[0];
  }

  #startSno(postgres: EmbeddedPostgres, server: DemoServer): Promise<Service> {
    const settings = readSettings({
      SNO_DATABASE_URL: postgres.url(),
      SNO_RULES: RULES,
      SNO_PORT: '0',
      SNO_ADMIN_PORT: '0',
      SNO_JWT_SECRET: this.#secret,
      SNO_ALLOWED_ORIGINS: server.origins.join(','),
      SNO_DRAIN_SECONDS: '0',
    });
    return startService(settings, this.#options.logger);
  }

  /** The role of sql/demo/05_visitor.sql gets a password that only this run knows. */
  async #admitVisitors(postgres: EmbeddedPostgres): Promise<void> {
    const client = new pg.Client({ connectionString: postgres.url(), application_name: 'demo' });
    await client.connect();
    await client.query(`alter role demo_visitor login password ${client.escapeLiteral(this.#password)}`);
    await client.end();
  }

  #visitorUrl(postgres: EmbeddedPostgres): string {
    const url = new URL(postgres.url());
    url.username = 'demo_visitor';
    url.password = this.#password;
    return url.href;
  }

  #token(): Promise<string> {
    return new SignJWT({ sub: VISITOR })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuedAt()
      .setExpirationTime(TOKEN_LIFETIME)
      .sign(new TextEncoder().encode(this.#secret));
  }
}
