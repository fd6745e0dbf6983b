/**
 * A reader who follows a page of the docs to the letter, in an empty folder with a database. The
 * reader saves the page's files, runs its SQL and its commands, and compares what they print. Only
 * ports, the database's URL, the role and the slot are the test's own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { SignJWT } from 'jose';
import { findProgram } from '../support/debian-program.ts';
import { freePort } from '../support/free-port.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { plainEnvironment } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { type Block, blocksOf, changed, shows } from './blocks.ts';
import { FOLLOWED, isFollowed, ROOT } from './pages.ts';

/** How the pages write what is the test's own. */
const DATABASE_URL = 'postgres://postgres:postgres@127.0.0.1:5432/app';
const ROLE = 'sno_service';
/** SNO_JWT_SECRET of the pages. */
const SECRET = 'a-development-secret-of-32-bytes';
const PORTS = ['8443', '9443', '3000'] as const;
/** Packages that a reader installs, beside Snö itself. */
const PACKAGES = ['jose', 'pg', 'ws'];

/** Files that no command names: a program reads them, or the test. */
const UNNAMED = ['index.html', 'sno.conf', 'haproxy.cfg'];

interface Background {
  readonly child: ChildProcess;
  output: string;
}

/** The database of a reader, which `leave` drops. */
export type ReadersDatabase = Pick<TestDatabase, 'url' | 'name' | 'query' | 'drop'>;

/** Pairs of what a page writes and what stands for it here. */
export type Own = readonly (readonly [page: string, here: string])[];

export class Reader {
  readonly database: ReadersDatabase;
  readonly folder: string;
  readonly #state: string;
  readonly #own: Own;
  readonly #background = new Map<string, Background>();
  #printed = '';

  private constructor(database: ReadersDatabase, folder: string, state: string, ports: readonly number[], own: Own) {
    this.database = database;
    this.folder = folder;
    this.#state = state;
    // Roles, slots and ports belong to the machine, which other tests use as well.
    this.#own = [
      ...own,
      [DATABASE_URL, database.url],
      [ROLE, `role_of_${database.name}`],
      ...PORTS.map((port, index) => [port, String(ports[index])] as const),
    ];
  }

  /** `own`: what else stands for a page's words. It goes before the reader's. */
  static async arrive(given?: ReadersDatabase, own: Own = []): Promise<Reader> {
    const home = await mkdtemp(join(tmpdir(), 'sno-reader-'));
    const database = given ?? (await freshDatabase());
    const [folder, state] = [join(home, 'app'), join(home, 'state')];
    const modules = join(folder, 'node_modules');
    // The clone, as the pages name it from the app's folder.
    const clone = join(home, 'sno');
    await mkdir(join(modules, '@sno-realtime'), { recursive: true });
    await mkdir(state);
    await symlink(ROOT, clone);
    await symlink(ROOT, join(modules, '@sno-realtime/sno'));
    for (const name of PACKAGES) await symlink(join(ROOT, 'node_modules', name), join(modules, name));
    const ports = [await freePort(), await freePort(), await freePort()];
    const reader = new Reader(database, folder, state, ports, own);
    await reader.#prepareShell();
    return reader;
  }

  /** What the last commands printed. */
  get printed(): string {
    return this.#printed;
  }

  /** The text of a page, or what a program printed, as it is here, and as it is in the pages. */
  here(text: string): string {
    return this.#own.reduce((result, [page, here]) => result.replaceAll(page, here), text);
  }
  #inPages(text: string): string {
    return this.#own.reduce((result, [page, here]) => result.replaceAll(here, page), text);
  }

  /** Follows a page's blocks in their order. */
  async follow(page: string): Promise<void> {
    if (!Object.values(FOLLOWED).flat().includes(page)) throw new Error(`${page} is missing in FOLLOWED`);
    const blocks = blocksOf(await readFile(join(ROOT, page), 'utf8')).filter(isFollowed);
    for (const [index, block] of blocks.entries()) {
      try {
        await this.do(block);
        expectUse(block, blocks.slice(index + 1));
      } catch (error) {
        throw new Error(`${page}:${block.line}: ${(error as Error).message}`, { cause: error });
      }
    }
  }

  /** Runs one command as a page's block of the language `sh` does. */
  async run(command: string): Promise<void> {
    await this.do({ language: 'sh', words: new Map(), text: command, line: 0 });
  }
  /** Starts a background command, and waits until it serves. */
  async start(command: string, name: string): Promise<void> {
    await this.do({ language: 'sh', words: new Map([['background', name]]), text: command, line: 0 });
  }

  /** Saves a file, as if a page had shown it. */
  async save(file: string, text: string): Promise<void> {
    const path = join(this.folder, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, this.here(text));
  }

  async leave(): Promise<void> {
    for (const [, { child }] of this.#background) await endGroup(child);
    const role = this.here(ROLE);
    const { rowCount } = await this.database.query('select from pg_roles where rolname = $1', [role]);
    if (rowCount === 1) await this.database.query(`drop owned by ${role}; drop role ${role}`);
    await this.database.drop();
    await rm(dirname(this.folder), { recursive: true, force: true });
  }

  /** Does what a block says. */
  async do(block: Block): Promise<void> {
    const { language, words, text } = block;
    const file = words.get('file');
    if (words.has('stop')) return this.stop(words.get('stop') as string);
    if (words.has('joins')) return this.#join(words.get('joins') as string, text);
    if (words.has('output')) return this.#compare(words.get('output') as string, text);
    if (file !== undefined && language === 'diff') return this.#change(file, text);
    if (file !== undefined) return this.save(file, text);
    if (language === 'sql') {
      await this.database.query(this.here(text));
      return;
    }
    if (language !== 'sh') throw new Error(`a block of ${language} is neither run nor saved`);
    if (words.has('background')) await this.#startInBackground(block);
    else await this.#runToEnd(block);
  }

  async #change(file: string, diff: string): Promise<void> {
    const path = join(this.folder, file);
    await writeFile(path, changed(await readFile(path, 'utf8'), this.here(diff)));
  }

  async #compare(name: string, expected: string): Promise<void> {
    const printed = () => this.#inPages(name === '' ? this.#printed : (this.#background.get(name)?.output ?? ''));
    const asked = () => shows(printed(), expected);
    if (name !== '') await until(asked, `${name} prints what the page shows`).catch(() => undefined);
    if (!asked()) throw new Error(`the page shows\n${expected}\nthe commands print\n${printed()}`);
  }

  /** A client with these claims may join a channel, and a stranger may not. */
  async #join(channel: string, claims: string): Promise<void> {
    const tail = async (payload: Record<string, unknown>) => {
      const token = new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('1h');
      return `npx sno tail ${channel} --token ${await token.sign(Buffer.from(SECRET))}`;
    };
    const subscribed = new Map([
      ['background', 'joins'],
      ['until', 'subscribed'],
    ]);
    const words = { language: 'sh', line: 0 };
    await this.do({ ...words, text: await tail(JSON.parse(claims)), words: subscribed });
    await this.stop('joins');
    await this.do({ ...words, text: await tail({ sub: 'stranger' }), words: new Map([['exits', '1']]) });
    if (!this.#printed.includes('access_denied')) throw new Error(`a stranger is not refused: ${this.#printed}`);
  }

  async #runToEnd({ words, text }: Block): Promise<void> {
    const child = this.#spawn(`trap '${this.#keepState()}' EXIT\n`, text);
    const output: string[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (part: string) => output.push(part));
    const [code] = (await once(child, 'close')) as [number | null];
    this.#printed = output.join('');
    if (code !== Number(words.get('exits') ?? 0)) throw new Error(`the commands end with ${code}: ${this.#printed}`);
  }

  async #startInBackground({ words, text }: Block): Promise<void> {
    const name = words.get('background') as string;
    await this.stop(name);
    const child = this.#spawn('', text);
    const background: Background = { child, output: '' };
    this.#background.set(name, background);
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (part: string) => (background.output += part));
    const awaited = this.here(words.get('until') ?? 'serving');
    await until(() => {
      if (child.exitCode !== null) return true;
      return background.output.includes(awaited);
    }, `${text.trim()} prints ${awaited}`);
    if (child.exitCode !== null) throw new Error(`${text.trim()} ends: ${background.output}`);
  }

  /** Sends a signal to a background command, and waits for its end. */
  async stop(name: string): Promise<void> {
    const background = this.#background.get(name);
    if (background !== undefined) await endGroup(background.child);
    this.#background.delete(name);
  }

  /** Variables and the folder last from one block to the next, as in a terminal. */
  #keepState(): string {
    return `{ export -p; echo "cd \\"$PWD\\""; } > ${this.#state}/shell`;
  }

  #spawn(before: string, text: string): ChildProcess {
    const script = `set -eo pipefail\n. ${this.#state}/shell\n${before}${this.here(text)}`;
    return spawn('bash', ['-c', script], {
      cwd: this.folder,
      env: plainEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that its end is the end of all that it started.
      detached: true,
    });
  }

  async #prepareShell(): Promise<void> {
    const bin = join(this.#state, 'bin');
    await mkdir(bin);
    // npx itself takes half a second each time; test/package.e2e.test.ts runs it.
    await writeFile(join(bin, 'npx'), `#!/bin/sh\n[ "$1" = sno ] && shift && exec node ${ROOT}dist/cli/sno.js "$@"\n`);
    await chmod(join(bin, 'npx'), 0o755);
    const psql = await findProgram('psql', { package: 'postgresql-client-15', path: 'usr/lib/postgresql/15/bin/psql' });
    await symlink(psql, join(bin, 'psql'));
    const variables = {
      PATH: `${bin}:${dirname(process.execPath)}:${process.env['PATH']}`,
      SNO_SLOT: this.database.name,
      SNO_PORT: this.here('8443'),
      SNO_ADMIN_PORT: this.here('9443'),
      PORT: this.here('3000'),
      SNO_DRAIN_SECONDS: '0',
    };
    const lines = Object.entries(variables).map(([name, value]) => `export ${name}='${value}'`);
    await writeFile(join(this.#state, 'shell'), `${lines.join('\n')}\n`);
  }
}

/** Throws if a page has its reader save a file and has no use for it. */
function expectUse({ words }: Block, later: readonly Block[]): void {
  const file = words.get('file');
  if (file === undefined || UNNAMED.includes(file)) return;
  const isUsed = ({ language, words, text }: Block) =>
    words.get('file') === file || (language === 'sh' && text.includes(file));
  if (!later.some(isUsed)) throw new Error(`no command uses ${file}`);
}

async function endGroup(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const closed = once(child, 'close');
  process.kill(-child.pid, 'SIGKILL');
  await closed;
}
